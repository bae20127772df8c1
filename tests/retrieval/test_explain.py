"""An explanation is the network's own logit: its parts sum to it, and a name stands only beside its own number."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from rich.console import Console

from neuroconcepts_ray.catalog.tables import Catalog
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.naming.tables import Name
from neuroconcepts_ray.retrieval.assemble import Explainer
from neuroconcepts_ray.retrieval.explain import choose_label, concepts, probabilities
from neuroconcepts_ray.retrieval.render import render
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.model import SAE
from tests.retrieval.model import Archive

M, D, N, L = 30, 12, 40, 3


def name(neuron: int, words: str) -> Name:
    return Name(neuron, words, "present", 0.8, 0.7, 0.9, 0.01, 30, 100, 50)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    f = rng.normal(size=(M, D)).astype(np.float32)
    directions = torch.nn.functional.normalize(torch.randn(N, D), dim=1)
    sae = SAE(directions, torch.zeros(N), directions, torch.randn(D) * 0.1, TopK(6))
    W, b = rng.normal(size=(L, D)).astype(np.float32), rng.normal(size=L).astype(np.float32)
    codes = sae.encode_dense(torch.from_numpy(f)).numpy()
    ids = np.array([f"image{row:02d}" for row in range(M)])
    groups = np.array([f"g{row // 2}" for row in range(M)])
    views, roles = np.full(M, "AP"), np.full(M, "probe")
    columns = {"image_id": ids, "study": groups, "group": groups, "view": views, "role": roles}
    index = Archive(codes, pa.table({name: column.tolist() for name, column in columns.items()})).index()
    labels = ["Edema", "Effusion", "Nodule"]
    y = np.zeros((M, L), np.float32)
    y[:, 2] = np.nan
    names = {j: name(j, "pleural effusion" if j % 2 else "edema") for j in range(0, N, 3)}
    return Explainer(
        space="latents",
        catalog=Catalog(ids, groups, groups, views, roles, labels, y, "multilabel", [slice(0, M)]),
        reports={"g0": "No effusion [sic]."},
        search=SearchService(index, names),
        sae=sae,
        W=W,
        b=b,
        labels=labels,
        task="multilabel",
        f=f,
        logits=(torch.from_numpy(f) @ torch.from_numpy(W).T + torch.from_numpy(b)).numpy(),
        row={image_id: row for row, image_id in enumerate(ids.tolist())},
    )


def test_the_parts_sum_to_the_stored_logit_of_every_image_and_label(explainer: Explainer) -> None:
    for image_id in explainer.row:
        for label in explainer.labels:
            one = explainer.explain(image_id, label=label)
            parts = [concept.contribution for concept in one.concepts]
            total = sum(parts) + one.others + one.bias_dec + one.residual + one.b
            assert total == pytest.approx(one.logit, abs=1e-5)
            assert one.error <= 1e-5
            assert len(one.concepts) <= 4


def test_the_residual_is_what_the_dictionary_misses_and_no_remainder(explainer: Explainer) -> None:
    f = torch.from_numpy(explainer.f[:1])
    missed = (f - explainer.sae.reconstruct(f)).double().numpy()[0]
    one = explainer.explain("image00", label="Effusion")
    assert one.residual == pytest.approx(float(explainer.W[1].astype(np.float64) @ missed), abs=1e-5)
    assert abs(one.residual) > 1e-3


def test_the_highest_logit_is_explained_unless_a_label_is_asked_for(explainer: Explainer) -> None:
    one = explainer.explain("image05")
    assert one.logit == max(one.logits)
    assert explainer.explain("image05", label="Nodule").label == "Nodule"
    with pytest.raises(InputError, match="Edema, Effusion, Nodule"):
        explainer.explain("image05", label="Oedema")


def test_an_image_that_is_not_there_is_refused(explainer: Explainer) -> None:
    with pytest.raises(InputError, match="image05"):
        explainer.explain("image5")


def test_same_named_neurons_are_summed_before_the_strongest_are_taken() -> None:
    neurons = np.array([2, 5, 7, 9, 11, 13])
    terms = np.array([0.4, 0.4, -0.7, 0.3, -0.6, 0.1])
    names = {2: name(2, "effusion"), 5: name(5, "effusion"), 13: name(13, "edema")}
    found = concepts(neurons, np.ones(6), terms, names)
    assert [one.name for one in found[:2]] == ["effusion", "unnamed (neuron 7)"]
    assert found[0].neurons == (2, 5)
    assert found[0].contribution == pytest.approx(0.8)
    assert len(found) == 5
    assert sum(one.contribution for one in found) == pytest.approx(terms.sum())


def test_unnamed_neurons_are_never_lumped_together_nor_given_evidence() -> None:
    found = concepts(np.array([1, 2]), np.ones(2), np.array([0.5, 0.5]), {})
    assert [one.name for one in found] == ["unnamed (neuron 1)", "unnamed (neuron 2)"]
    assert all(not one.named and one.aurocs == () for one in found)


def test_activity_below_zero_reads_less_of_and_is_not_mixed_with_more_of() -> None:
    names = {1: name(1, "edema"), 2: name(2, "edema")}
    found = concepts(np.array([1, 2]), np.array([2.0, -1.0]), np.array([0.5, 0.25]), names)
    assert [one.name for one in found] == ["edema", "less of edema"]


def test_probabilities_follow_the_task() -> None:
    x = np.array([-800.0, 0.0, 800.0])
    np.testing.assert_allclose(probabilities(x, "multilabel"), [0, 0.5, 1])
    np.testing.assert_allclose(probabilities(x, "binary"), [0, 0.5, 1])
    np.testing.assert_allclose(probabilities(np.array([1.0, 1.0, 1e3]), "multiclass"), [0, 0, 1])
    np.testing.assert_allclose(probabilities(np.log([1.0, 2.0, 5.0]), "multiclass"), [1 / 8, 2 / 8, 5 / 8])
    assert choose_label(None, ["a", "b", "c"], x) == 2


def test_masked_labels_are_none_and_the_json_is_json(explainer: Explainer) -> None:
    plain = explainer.explain("image00").to_dict()
    assert plain["truth"] == (False, False, None)
    assert json.loads(json.dumps(plain, allow_nan=False))["image_id"] == "image00"


def test_the_page_shows_the_sum_the_report_and_the_neighbours_of_other_patients(explainer: Explainer) -> None:
    one = explainer.explain("image00")
    console = Console(width=160)
    with console.capture() as capture:
        console.print(render(one))
    page = capture.get()
    assert "No effusion [sic]." in page
    assert "residual" in page and f"{one.total:+.4f}" in page
    assert "image01" not in page, "the same patient's other film"
    assert one.neighbours[0].image_id in page
