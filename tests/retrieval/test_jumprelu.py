"""A JumpReLU SAE, whose L0 differs from image to image, all the way: fit, encode, index, search, explain."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.shards import Shard
from neuroconcepts_ray.neurons import job as encoding
from neuroconcepts_ray.neurons.config import SpaceConfig
from neuroconcepts_ray.neurons.encode import encode_latents
from neuroconcepts_ray.neurons.encoder import Encoders
from neuroconcepts_ray.neurons.tables import load_codes, load_neurons
from neuroconcepts_ray.retrieval.assemble import Explainer
from neuroconcepts_ray.retrieval.config import IndexConfig
from neuroconcepts_ray.retrieval.job import run as index
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.sae import job as fitting
from neuroconcepts_ray.sae.activation import JumpReLU
from neuroconcepts_ray.sae.model import SAE, load_sae
from tests.neurons.test_job import D, archive, images
from tests.sae.test_bring import put

N, L = 20, 3


def here(shards: list[Shard], *, worker: str, spec: dict[str, Any], load: Callable[..., Any], **_: object) -> None:
    """What the cluster does, without it."""
    assert worker.endswith("Encoders")
    encoders = Encoders(spec)
    for shard in shards:
        encoders(shard, load(shard, spec))


@pytest.fixture(scope="module")
def sae() -> SAE:
    made = torch.Generator().manual_seed(3)
    rows = torch.nn.functional.normalize(torch.randn(N, D, generator=made), dim=1)
    theta = torch.linspace(0.0, 4.0, N)
    theta[-1] = 1e6  # a latent that never fires
    return SAE(rows.clone(), torch.full((N,), -0.8), rows, torch.full((D,), 2.0), JumpReLU(theta))


@pytest.fixture(scope="module")
def world(sae: SAE, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, dict[str, Manifest]]:
    folder = tmp_path_factory.mktemp("jumprelu")
    lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
    have = archive(lake, [60, 40])
    have |= fitting.run(put(folder / "sae", sae), have, lake, ComputeConfig())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "map_shards", here)
        have |= encoding.run({"latents": SpaceConfig(origin="latents", batch_size=16)}, have, lake, ComputeConfig())
    have |= index(IndexConfig(cache=str(folder / "cache")), have, lake, ComputeConfig())
    return lake, have


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.concatenate([images(0, 60)[2], images(1, 40)[2]])


def test_codes_are_those_of_the_formula_and_l0_is_free(
    sae: SAE, world: tuple[Lake, dict[str, Manifest]], x: np.ndarray
) -> None:
    lake, have = world
    pre = (x.astype(np.float64) - 2) @ sae.W_enc.double().numpy().T - 0.8
    assert isinstance(sae.activation, JumpReLU)
    want = np.where(pre > sae.activation.theta.numpy(), pre, 0)
    codes = load_codes(lake, have["codes.latents"])
    np.testing.assert_allclose(codes.matrix.toarray(), want, atol=1e-5)
    assert codes.matrix.dtype == np.float32
    assert bool((codes.matrix.data > 0).all())  # no zero stored, of either sign
    l0 = np.diff(codes.matrix.indptr)
    assert l0.min() == 0
    assert l0.max() > 5
    stats, roles = load_neurons(lake, have["codes.latents"]), load_catalog(lake, have["catalog"]).roles
    np.testing.assert_allclose(stats.density, (want[roles != "test"] > 0).mean(axis=0), atol=1e-6)
    assert have["codes.latents"].facts["l0"] == pytest.approx((want[roles != "test"] > 0).sum(axis=1).mean())
    assert stats.top_images[N - 1] == []


def test_encoding_is_sorted_float32_and_alike_in_any_batch(sae: SAE, x: np.ndarray) -> None:
    whole = encode_latents(sae, x, 100)
    assert whole.dtype == np.float32
    assert whole.has_sorted_indices
    np.testing.assert_allclose(encode_latents(sae, x, 7).toarray(), whole.toarray(), atol=1e-5)
    assert encode_latents(sae, x[:0], 7).shape == (0, N)


def test_search_ranks_by_the_cosines_of_these_codes(world: tuple[Lake, dict[str, Manifest]]) -> None:
    lake, have = world
    service = SearchService.open(lake, have["index.latents"])
    codes = load_codes(lake, have["codes.latents"])
    dense = codes.matrix.toarray().astype(np.float64)
    l0 = np.diff(codes.matrix.indptr)
    for row in (int(l0.argmax()), int(np.flatnonzero(l0 == 1)[0]) if (l0 == 1).any() else int(l0.argmin())):
        asked = codes.image_ids[row]
        hits = service.search(Query(like=[str(asked)], exclude="none", top=5)).hits
        norm = np.linalg.norm(dense, axis=1)
        cosine = dense @ dense[row] / np.where(norm > 0, norm * norm[row], 1)
        found = np.array([hit.score for hit in hits])
        np.testing.assert_allclose(found, np.sort(cosine)[::-1][: len(found)], atol=1e-5)


def test_every_logit_is_the_sum_of_its_parts_also_where_nothing_fires(
    world: tuple[Lake, dict[str, Manifest]], x: np.ndarray
) -> None:
    lake, have = world
    rng = np.random.default_rng(0)
    W, b = rng.standard_normal((L, D)).astype(np.float32), rng.standard_normal(L).astype(np.float32)
    codes = load_codes(lake, have["codes.latents"])
    explainer = Explainer(
        space="latents",
        catalog=load_catalog(lake, have["catalog"]),
        reports={},
        search=SearchService.open(lake, have["index.latents"]),
        sae=load_sae(lake, have["sae"]),
        W=W,
        b=b,
        labels=["Edema", "Effusion", "Nodule"],
        task="multilabel",
        f=x,
        logits=x @ W.T + b,
        row={str(image_id): row for row, image_id in enumerate(codes.image_ids)},
    )
    l0 = np.diff(codes.matrix.indptr)
    for row in (int(l0.argmin()), int(l0.argmax()), 17):
        parts = explainer.decompose(str(codes.image_ids[row]))
        assert len(parts.latents) == l0[row]
        np.testing.assert_allclose(parts.total, x[row] @ W.T + b, atol=1e-5)
    one = explainer.explain(str(codes.image_ids[int(l0.argmax())]), label="Effusion")
    assert one.error < 1e-5
    assert one.other_neurons > 0
    none = explainer.explain(str(codes.image_ids[int(l0.argmin())]), label="Effusion")
    assert (none.concepts, none.others, none.neighbours) == ((), 0.0, ())
    assert none.bias_dec + none.residual + none.b == pytest.approx(none.logit, abs=1e-5)


@pytest.mark.parametrize("device", ["meta"])
def test_thresholds_move_with_the_device(sae: SAE, device: str) -> None:
    moved = sae.to(device)
    assert isinstance(moved.activation, JumpReLU)
    assert {moved.activation.theta.device.type, moved.W_enc.device.type, moved.b_dec.device.type} == {device}
