"""The worlds of the tests of mining, and both stages in this process, one shard after the other, without Ray."""

from collections.abc import Callable
from typing import Any

import pytest

from neuroconcepts_ray.activations import job as mining
from neuroconcepts_ray.activations.config import ActivationsConfig
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.pixels import job as packing
from neuroconcepts_ray.pixels.config import PixelsConfig
from tests.activations.conftest import World, world
from tests.inprocess import in_process

__all__ = ["world"]

COMPUTE = ComputeConfig(max_bad_fraction=0.5)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages run here and now; the images that passed through a worker."""
    seen: list[str] = []

    for room in (packing, mining):
        monkeypatch.setattr(room, "map_shards", in_process(seen))
    return seen


@pytest.fixture
def pack(here: list[str]) -> Callable[..., tuple[Manifest, list[str]]]:
    """Packs a world; the artifact, which the world then has, and the images that were packed."""

    def make(one: World, rows: int = 4, **geometry: Any) -> tuple[Manifest, list[str]]:
        here.clear()
        config, pixels = validate(PixelsConfig, {"shard_rows": rows}), PixelConfig(**{"size": 32, **geometry})
        one.have |= packing.run(config, one.have, one.lake, COMPUTE, str(one.root), pixels)
        return one.have["pixels"], list(here)

    return make


@pytest.fixture
def mine(here: list[str]) -> Callable[..., dict[str, Manifest]]:
    """Mines a world."""

    def make(one: World, rows: int = 4) -> dict[str, Manifest]:
        here.clear()
        raw = {"batch_size": 2, "shard_rows": rows, "dtype": "float32", "threads": 1, "taps": ["layer2"]}
        return mining.run(validate(ActivationsConfig, raw), one.have, one.lake, COMPUTE, str(one.root))

    return make
