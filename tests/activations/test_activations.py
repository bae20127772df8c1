import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from neuroconcepts_ray.activations import job
from neuroconcepts_ray.activations.config import ActivationsConfig, native_dtype, plan
from neuroconcepts_ray.activations.extract import check_finite, extract, spread
from neuroconcepts_ray.activations.tables import activations_table, load_activations
from neuroconcepts_ray.classifier import job as training
from neuroconcepts_ray.classifier.card import load_card
from neuroconcepts_ray.classifier.config import ClassifierConfig, geometry
from neuroconcepts_ray.classifier.head import load_head
from neuroconcepts_ray.classifier.model import load_classifier
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import ConfigError, DigestError, InputError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.table import from_parquet, tensor_rows, to_parquet
from tests.classifier.published import LABELS, SMALL, publish
from tests.inprocess import in_process

IDS = [f"i{number:02}" for number in range(12)]
COMPUTE = ComputeConfig(max_bad_fraction=0.2)


@pytest.fixture
def mined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[dict[str, Manifest], list[str]]]:
    """Runs the stage in this process, without Ray; gives the artifacts and the images that were inferred."""

    def mine(world: Any, **config: Any) -> tuple[dict[str, Manifest], list[str]]:
        seen: list[str] = []

        monkeypatch.setattr(job, "map_shards", in_process(seen))
        raw = {"batch_size": 2, "shard_rows": 4, "dtype": "float32", **config}
        return job.run(validate(ActivationsConfig, raw), world.have, world.lake, COMPUTE, str(world.root)), seen

    return mine


def test_every_image_has_one_row_per_tap_in_the_catalogs_order(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS[:6], IDS[6:10]])
    made, seen = mined(one, taps=["layer2"])
    assert seen == IDS[:10]
    assert list(made) == ["activations.pre_logits", "activations.logits", "activations.layer2"]
    assert {name: m.facts["d"] for name, m in made.items()} == {
        "activations.pre_logits": 16,
        "activations.logits": 2,
        "activations.layer2": 8,
    }
    (ids, f), (_, logits) = (load_activations(one.lake, made[f"activations.{tap}"]) for tap in ("pre_logits", "logits"))
    assert ids.tolist() == IDS[:10]
    model = load_classifier(one.lake, one.have["classifier"])
    expected = f.astype(np.float64) @ model.W.numpy().astype(np.float64).T + model.b.numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


def test_a_grown_catalog_costs_its_new_partition_only(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS[:6], IDS[6:10]])
    before, _ = mined(one)
    one.catalogue([IDS[:6], IDS[6:10], IDS[10:]])
    after, seen = mined(one)
    assert seen == IDS[10:]
    old, new = before["activations.logits"], after["activations.logits"]
    assert new.parts[: len(old.parts)] == old.parts
    assert mined(one)[1] == []


def test_a_further_tap_is_mined_and_the_others_stay_as_they_are(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS[:6]])
    before, _ = mined(one)
    after, seen = mined(one, taps=["layer1"])
    assert seen == IDS[:6]
    assert before.items() <= after.items()


def test_an_interrupted_pass_continues_with_the_shards_that_lack_a_receipt(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS[:6], IDS[6:10]])
    made, _ = mined(one)
    # As if the driver had been killed after some receipts of one tap: no manifest, and one receipt short.
    for manifest in made.values():
        one.lake.store.delete(f"activations/{manifest.recipe}/{manifest.artifact}.json")
    logits = made["activations.logits"]
    one.lake.store.delete(f"activations/{logits.recipe}/receipts/{Path(logits.parts[1].name).stem}.json")
    again, seen = mined(one)
    assert seen == IDS[4:6]
    assert {name: m.content for name, m in again.items()} == {name: m.content for name, m in made.items()}


def test_a_damaged_film_is_quarantined_and_its_neighbours_bytes_are_unchanged(world: Any, mined: Any) -> None:
    whole, damaged = world("whole"), world("damaged")
    damaged.write(IDS[2], b"\x89PNG\r\n\x1a\nno more")
    for one in (whole, damaged):
        one.catalogue([IDS[:6], IDS[6:10]])
    a, b = (mined(one, taps=["layer2"])[0]["activations.layer2"] for one in (whole, damaged))
    assert [(bad.image_id, bad.stage) for bad in b.quarantined] == [(IDS[2], "activations")]
    (ids, x), (kept, left) = load_activations(whole.lake, a), load_activations(damaged.lake, b)
    assert kept.tolist() == [one for one in IDS[:10] if one != IDS[2]]
    assert left.tobytes() == x[ids != IDS[2]].tobytes()


def test_too_many_damaged_films_commit_nothing_and_keep_what_is_done(world: Any, mined: Any) -> None:
    one = world("one")
    for image in IDS[:3]:
        one.write(image, b"")
    one.catalogue([IDS[:10]])
    with pytest.raises(InputError, match="max_bad_fraction"):
        mined(one)
    assert not [key for key in one.lake.store.list("activations") if key.count("/") == 2]


def test_a_shard_without_any_film_left_is_an_empty_part(world: Any, mined: Any) -> None:
    one = world("one")
    one.write(IDS[10], b"")
    one.catalogue([IDS[:10], IDS[10:11]])
    ids, x = load_activations(one.lake, mined(one)[0]["activations.logits"])
    assert (len(ids), x.shape) == (10, (10, 2))


def test_a_film_that_changed_since_it_was_catalogued_is_refused(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS[:6]])
    one.write(IDS[1], (one.root / f"{IDS[0]}.png").read_bytes())
    with pytest.raises(DigestError, match=IDS[1]):
        mined(one)


def test_an_unknown_tap_is_refused_before_anything_is_mined(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS[:6]])
    with pytest.raises(ConfigError, match="layer2"):
        mined(one, taps=["layr2"])


def test_a_value_that_is_not_finite_names_tap_and_image() -> None:
    x = np.zeros((3, 2), np.float32)
    x[1, 1] = np.inf
    with pytest.raises(InputError, match="tap layer1, image b"):
        check_finite("layer1", ["a", "b", "c"], x)


def test_an_images_vector_does_not_depend_on_what_else_is_in_its_batch(world: Any) -> None:
    one = world("one")
    model = load_classifier(one.lake, one.have["classifier"])
    x = np.random.default_rng(0).integers(0, 256, (5, 1, 32, 32), dtype=np.uint8)
    whole = extract(model, x, ["layer3"], batch_size=2, dtype="float32")
    holed = extract(model, spread(x[[0, 2, 3, 4]], [0, 2, 3, 4], 5), ["layer3"], batch_size=2, dtype="float32")
    for tap in ("layer3", "pre_logits", "logits"):
        assert np.delete(whole[tap], 1, axis=0).tobytes() == np.delete(holed[tap], 1, axis=0).tobytes()


def test_pooling_changes_the_recipes_of_layers_only(world: Any) -> None:
    have = world("one").have
    have["catalog"] = have["classifier"]
    mean, most = (plan(ActivationsConfig(taps=["layer1"], reduction=r, dtype="float32"), have) for r in ("mean", "max"))
    assert mean["activations.logits"] == most["activations.logits"]
    assert mean["activations.layer1"] != most["activations.layer1"]


def test_auto_is_resolved_when_the_run_is_planned(world: Any) -> None:
    have = world("one").have
    have["catalog"] = have["classifier"]
    auto, named = (plan(ActivationsConfig(dtype=d), have) for d in ("auto", native_dtype()))
    assert auto == named


def test_the_table_is_of_a_standard_type_and_may_be_empty() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    table = from_parquet(to_parquet(activations_table(["a", "b"], x)))
    assert table.schema.field("activation").type == pa.fixed_shape_tensor(pa.float32(), (3,))
    np.testing.assert_array_equal(tensor_rows(table["activation"]), x)
    assert activations_table([], x[:0]).num_rows == 0


@pytest.mark.parametrize("taps", [["a b"], ["layer1", "layer1"], ["../x"], [""]])
def test_taps_must_be_distinct_module_names(taps: list[str]) -> None:
    with pytest.raises(ConfigError):
        validate(ActivationsConfig, {"taps": taps})


def test_an_imported_network_goes_through_as_it_is_and_its_logits_are_its_heads(
    world: Any, mined: Any, tmp_path: Path
) -> None:
    """The catalog knows labels a and b; the network has 14 of its own."""
    publish(tmp_path, *SMALL, films=3)
    factory, kwargs = SMALL
    args = ["import-model", tmp_path / "chest.pth", "--factory", factory, "--kwargs", json.dumps(kwargs), "-o"]
    args += [tmp_path / "chest", "--labels", ",".join(LABELS), "--reference", tmp_path / "logits.csv"]
    args += ["--images", tmp_path / "films", "--size", 64, "--resize", 72]
    assert call([str(one) for one in args]) == 0
    one = world("one")
    for image_id, film in zip(IDS[:3], sorted((tmp_path / "films").iterdir()), strict=True):
        one.write(image_id, film.read_bytes())
    one.catalogue([IDS[:3]])
    config = validate(ClassifierConfig, {"weights": str(tmp_path / "chest"), "threads": 1})
    one.have |= training.run(config, one.have, one.lake, COMPUTE, str(one.root))
    assert one.have["classifier"].facts["backbone"] == factory
    # What `pack` is told before there is a classifier.
    assert geometry(config) == load_card(one.lake, one.have["classifier"]).pixels != ClassifierConfig().pixels
    made, _ = mined(one, taps=["features.denseblock4"], threads=1)
    ids, f = load_activations(one.lake, made["activations.pre_logits"])
    _, logits = load_activations(one.lake, made["activations.logits"])
    _, block = load_activations(one.lake, made["activations.features.denseblock4"])
    head = load_head(one.lake, one.have["classifier"])
    assert head.labels == LABELS
    exact = f.astype(np.float64) @ head.W.T.astype(np.float64) + head.b
    np.testing.assert_allclose(logits, exact, rtol=0, atol=1e-6)
    expected = np.loadtxt(tmp_path / "logits.csv", delimiter=",", skiprows=1, usecols=range(1, 15))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    assert (len(ids), block.shape[0]) == (3, 3)
