import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from neuroconcepts_ray.catalog.tables import Catalog
from neuroconcepts_ray.classifier.config import ClassifierConfig, plan
from neuroconcepts_ray.classifier.films import load_films, room
from neuroconcepts_ray.classifier.job import _share
from neuroconcepts_ray.classifier.targets import outputs, truth
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.train import World
from neuroconcepts_ray.errors import ConfigError, EnvironmentFault
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.manifest import Manifest

HAVE = {
    "catalog": Manifest(
        kind="catalog", name="catalog", recipe="r", recipe_body={}, inputs={}, artifact="a", parts=[], content="c"
    )
}


def fingerprint(**changes: object) -> str:
    return plan(validate(ClassifierConfig, changes), HAVE)["classifier"].artifact


def catalog(task: str = "multilabel") -> Catalog:
    names = np.array(["i0", "i1"])
    y = np.array([[1, 0], [np.nan, 1]], dtype=np.float32)
    return Catalog(names, names, names, names, np.array(["fit", "select"]), ["a", "b"], y, task, [slice(0, 2)])


def test_settings_of_training_change_the_fingerprint_unless_weights_are_brought(tmp_path: Path) -> None:
    weights = str(tmp_path / "w.safetensors")
    save_file({"a": torch.zeros(2)}, weights)
    assert fingerprint(epochs=3) != fingerprint(epochs=4)
    assert fingerprint(threads=1) != fingerprint(threads=2)
    assert fingerprint(weights=weights, epochs=3) == fingerprint(weights=weights, epochs=4)
    assert fingerprint(weights=weights, mean=[0.1]) != fingerprint(weights=weights)


def test_brought_weights_count_by_their_bytes_not_by_their_place(tmp_path: Path) -> None:
    places = [str(tmp_path / name) for name in ("one.safetensors", "two.safetensors", "other.safetensors")]
    for place, value in zip(places, (0, 0, 1), strict=True):
        save_file({"a": torch.full((2,), value)}, place)
    one, two, other = (fingerprint(weights=place) for place in places)
    assert one == two != other


def test_missing_weights_are_an_error_of_the_config() -> None:
    with pytest.raises(ConfigError, match=r"classifier\.weights"):
        fingerprint(weights="/nowhere/w.safetensors")


def test_outputs_follow_the_config_and_an_unknown_label_names_its_neighbours() -> None:
    assert outputs(ClassifierConfig(labels=["b"]), catalog()) == ["b"]
    assert outputs(ClassifierConfig(), catalog()) == ["a", "b"]
    with pytest.raises(ConfigError, match="no such label"):
        outputs(ClassifierConfig(labels=["c"]), catalog())
    with pytest.raises(ConfigError, match="cannot be left out"):
        outputs(ClassifierConfig(labels=["a"]), catalog("multiclass"))


def test_outputs_of_brought_weights_that_the_catalog_does_not_know_are_masked() -> None:
    y = truth(catalog(), ["b", "elsewhere"])
    assert y[:, 0].tolist() == [0, 1]
    assert np.isnan(y[:, 1]).all()


def test_a_share_is_every_other_film_and_leaves_the_damaged_ones_out() -> None:
    files = {row: _png(row) for row in range(7)} | {4: b""}

    def load(rows: Sequence[int]) -> tuple[np.ndarray, dict[int, str]]:
        return load_films(files.__getitem__, rows, PixelConfig(size=8), threads=1)

    rows = {"fit": np.array([0, 2, 4, 6]), "select": np.array([1, 3, 5])}
    shares = [_share(rows, load, World(rank, 2)) for rank in range(2)]
    assert [{role: kept.tolist() for role, kept in share[1].items()} for share in shares] == [
        {"fit": [0], "select": [1, 5]},
        {"fit": [2, 6], "select": [3]},
    ]
    assert [share[2] for share in shares] == [[(4, "empty file")], []]
    assert [[int(film.max()) for film in share[0]["fit"]] for share in shares] == [[0], [2, 6]]


def _png(value: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((16, 16), value, np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def test_a_film_that_will_never_decode_is_set_aside_and_its_neighbours_are_not_touched() -> None:
    files = [_png(1), b"\x89PNG\r\n\x1a\nxx", _png(3)]
    films, causes = load_films(files.__getitem__, [0, 1, 2], PixelConfig(size=8), threads=2)
    assert list(causes) == [1]
    assert [int(films[i].max()) for i in range(3)] == [1, 0, 3]


def test_a_failed_read_is_a_fault_of_the_environment_not_of_the_film() -> None:
    def read(_: int) -> bytes:
        raise OSError(5, "Input/output error", "/archive/p10/p10000032/x.jpg")

    with pytest.raises(EnvironmentFault, match="could not be read") as caught:
        load_films(read, [0, 1], PixelConfig(size=8), threads=1)
    assert "p10000032" not in str(caught.value)


def test_many_films_live_in_a_file_that_leaves_nothing_behind() -> None:
    films = room(4, PixelConfig(size=8), limit=10)
    assert isinstance(films, np.memmap)
    films[2] = 7
    assert films.sum() == 7 * 64
