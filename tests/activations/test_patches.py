"""Patches, against windows cut by hand and against the places in the film that they say they are of."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from neuroconcepts_ray.activations import job
from neuroconcepts_ray.activations.config import ActivationsConfig, PatchConfig, check_vectors
from neuroconcepts_ray.activations.patches import Windows, frame, joined, starts
from neuroconcepts_ray.activations.tables import some_rows
from neuroconcepts_ray.classifier.model import load_classifier
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.load import fit_pixels, load_pixels
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.table import tensor_rows, to_parquet
from tests.inprocess import in_process

IDS = [f"i{number:02}" for number in range(6)]
TAPS = ["layer2:patches", "pre_logits:patches", "logits:patches"]
SETTINGS = {"batch_size": 4, "shard_rows": 4, "dtype": "float32", "threads": 1, "stored": "float32"}


@pytest.fixture
def mined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Manifest]]:
    """Runs the stage in this process, without Ray."""

    def mine(one: Any, **config: Any) -> dict[str, Manifest]:
        monkeypatch.setattr(job, "map_shards", in_process([]))
        raw = validate(ActivationsConfig, SETTINGS | config)
        return job.run(raw, one.have, one.lake, ComputeConfig(max_bad_fraction=0.5), str(one.root))

    return mine


def rows(one: Any, manifest: Manifest) -> pa.Table:
    return pa.concat_tables([one.lake.table(part) for part in manifest.parts])


def test_each_patch_has_the_vector_of_a_window_cut_by_hand(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS])
    made = mined(one, taps=[*TAPS, "layer2"], patches={"size": 0.5})
    model = load_classifier(one.lake, one.have["classifier"])
    at = [(top, left) for top in (0, 16, 32) for left in (0, 16, 32)]
    found = []
    model.backbone.get_submodule("layer2").register_forward_hook(lambda _m, _x, y: found.append(y.mean((2, 3))))
    heads = []
    for image_id in IDS:
        film = load_pixels((one.root / f"{image_id}.png").read_bytes(), PixelConfig(size=64))
        windows = torch.from_numpy(np.stack([film[:, top : top + 32, left : left + 32] for top, left in at]))
        with torch.inference_mode():
            heads.append(model.backbone(model.normalise(windows.float() / 255)))
    kept = {tap: rows(one, made[f"activations.{tap}"]) for tap in TAPS}
    assert all(table["image_id"].to_pylist() == IDS for table in kept.values())
    close = {"rtol": 1e-4, "atol": 1e-5}
    x = {tap: tensor_rows(table["activation"]) for tap, table in kept.items()}
    np.testing.assert_allclose(x["layer2:patches"], torch.stack(found).numpy(), **close)
    f = torch.stack(heads)
    np.testing.assert_allclose(x["pre_logits:patches"], f.numpy(), **close)
    np.testing.assert_allclose(x["logits:patches"], model.logits(f.flatten(0, 1)).detach().reshape(6, 9, 2), **close)
    box = np.array([(left / 64, top / 64, (left + 32) / 64, (top + 32) / 64) for top, left in at], np.float32)
    assert (tensor_rows(kept["logits:patches"]["box"]) == box).all()
    assert made["activations.layer2:patches"].facts == {
        "tap": "layer2:patches", "keep": "patches", "d": 8, "shape": [9, 8], "dtype": "float", "patches": 9,
        "frame": 64, "reduction": "mean", "tokens": "mean",
    }  # fmt: skip
    assert "reduction" not in made["activations.logits:patches"].facts


def test_whole_images_are_what_they_are_without_patches(world: Any, mined: Any) -> None:
    found = []
    for name, more in (("plain", {}), ("patched", {"taps": [*TAPS, "layer2"], "patches": {"size": 0.5}})):
        one = world(name)
        one.catalogue([IDS])
        made = mined(one, **({"taps": ["layer2"]} | more))
        found.append([made[f"activations.{tap}"].content for tap in ("layer2", "pre_logits", "logits")])
    assert found[0] == found[1]


def test_a_neighbour_that_does_not_load_changes_no_bytes(world: Any, mined: Any) -> None:
    found = []
    for name in ("whole", "damaged"):
        one = world(name)
        if name == "damaged":
            one.write(IDS[2], b"\x89PNG\r\n\x1a\nno more")
        one.catalogue([IDS])
        made = mined(one, taps=TAPS, patches={"size": 0.6, "stride": 0.7})
        found.append({tap: one.lake.table(made[f"activations.{tap}"].parts[0]) for tap in TAPS})
    for tap in TAPS:
        assert to_parquet(some_rows(found[0][tap], [0, 1, 3])) == to_parquet(found[1][tap])


@given(size=st.integers(1, 40), more=st.integers(0, 200), stride=st.floats(0.01, 1))
def test_windows_reach_from_edge_to_edge_and_leave_no_gap(size: int, more: int, stride: float) -> None:
    at = starts(size + more, size, stride)
    assert at[0] == 0
    assert at[-1] == more
    assert all(0 < later - sooner <= max(1, round(stride * size)) for sooner, later in pairwise(at))


@pytest.mark.parametrize(
    "pixels",
    [
        PixelConfig(size=32, fit="crop"),
        PixelConfig(size=32, fit="pad"),
        PixelConfig(size=32, fit="stretch"),
        PixelConfig(size=32, fit="crop", resize=40),
    ],
    ids=["crop", "pad", "stretch", "resize"],
)
@pytest.mark.parametrize(("width", "height"), [(300, 200), (180, 330)])
def test_a_box_says_where_in_the_film_its_patch_comes_from(pixels: PixelConfig, width: int, height: int) -> None:
    square = frame(pixels, PatchConfig(size=0.25, stride=0.5))
    assert square.size == 128
    # As docs/mining.md tells it.
    short, long = min(width, height), max(width, height)
    inner = short * 32 / 40 if pixels.resize else short
    wide, high = {"crop": (inner, inner), "pad": (long, long), "stretch": (width, height)}[pixels.fit]
    for x, y in ((width // 2, height // 2), (width // 2 - 40, height // 2 + 30), (width // 2 + 50, height // 2 - 60)):
        film = np.zeros((height, width), dtype=np.uint8)
        film[y - 4 : y + 4, x - 4 : x + 4] = 255
        windows = Windows(fit_pixels(film, square)[None], 32, starts(128, 32, 0.5))
        light = windows[0:49].reshape(49, -1).sum(axis=1)
        boxes = windows.boxes * [wide, high, wide, high] + [(width - wide) / 2, (height - high) / 2] * 2
        inside = (boxes[:, 0] <= x - 6) & (x + 6 <= boxes[:, 2]) & (boxes[:, 1] <= y - 6) & (y + 6 <= boxes[:, 3])
        outside = (boxes[:, 2] < x - 6) | (x + 6 < boxes[:, 0]) | (boxes[:, 3] < y - 6) | (y + 6 < boxes[:, 1])
        assert inside.any()
        assert (light[inside] >= 0.95 * light.max()).all()
        assert (light[outside] == 0).all()


def test_batches_that_end_within_an_image_are_joined() -> None:
    x = np.arange(12, dtype=np.float32).reshape(12, 1)
    cuts = [slice(0, 5), slice(5, 10), slice(10, 12)]
    found = list(
        joined(((cut, {"a": {"activation": x[cut]}}) for cut in cuts), np.zeros((3, 4), np.float32), "float32")
    )
    assert [rows for rows, _ in found] == [slice(0, 1), slice(1, 3), slice(3, 4)]
    assert np.concatenate([columns["a"]["activation"] for _, columns in found]).reshape(-1).tolist() == list(range(12))


def test_settings_that_cannot_be_are_refused_by_name(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS])
    with pytest.raises(ConfigError, match=r"logits:patches needs patches, such as \{size: 0.25"):
        mined(one, taps=TAPS)
    with pytest.raises(ConfigError, match=r"too large a frame.*32 / 0.001 = 32000 pixels.*4096 pixels.*0.008 or more"):
        mined(one, taps=TAPS, patches={"size": 0.001})
    with pytest.raises(ConfigError, match="one vector already"):
        mined(one, taps=["logits:grid"], patches={"size": 0.5})
    made = mined(one, taps=TAPS, patches={"size": 0.5})
    with pytest.raises(ConfigError, match="Take pre_logits, for instance"):
        check_vectors(made["activations.pre_logits:patches"], "sae.tap")


@pytest.mark.parametrize(
    ("pixels", "least"),
    [
        (PixelConfig(size=256), 0.063),
        (PixelConfig(size=224, resize=256), 0.055),
        (PixelConfig(size=32, resize=70), 0.009),
    ],
)
def test_the_least_size_that_is_told_is_one_that_can_be(pixels: PixelConfig, least: float) -> None:
    with pytest.raises(ConfigError, match=f"Take {least} or more"):
        frame(pixels, PatchConfig(size=0.0015))
    found = frame(pixels, PatchConfig(size=least))
    assert validate(PixelConfig, found.model_dump()) == found


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"taps": ["layer9:patches"]}, "layer9"),
        ({"taps": ["layer2:patches"], "patches": {"size": 0.01, "stride": 0.05}, "stored": "float32"}, "one image by"),
    ],
)
def test_what_the_second_pass_could_not_do_is_refused_before_the_first(
    world: Any, mined: Any, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], what: str
) -> None:
    one = world("one")
    one.catalogue([IDS])
    monkeypatch.setattr("neuroconcepts_ray.activations.room.MAX_PART_BYTES", 4_000_000)
    with pytest.raises(ConfigError, match=what):
        mined(one, **({"patches": {"size": 0.5}} | config))
    assert not list(one.lake.store.list("activations"))


def test_a_patch_that_is_not_finite_as_float16_names_tap_and_image(
    world: Any, mined: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world("one")
    one.catalogue([IDS])
    monkeypatch.setattr(
        "neuroconcepts_ray.classifier.model.Classifier.logits", lambda _self, f: torch.full((len(f), 2), 1e5)
    )
    with pytest.raises(InputError, match=r"tap logits:patches, image i00.*activations.stored=float32"):
        mined(one, taps=["logits:patches"], patches={"size": 0.5}, stored="float16")


def test_a_film_smaller_than_the_frame_is_enlarged(world: Any, mined: Any) -> None:
    one = world("one")
    Image.new("L", (9, 12), 200).save(one.root / f"{IDS[0]}.png")
    one.catalogue([IDS])
    made = mined(one, taps=["pre_logits:patches"], patches={"size": 0.2, "stride": 1})
    assert rows(one, made["activations.pre_logits:patches"])["image_id"].to_pylist() == IDS
    assert made["activations.pre_logits:patches"].facts["patches"] == 25
