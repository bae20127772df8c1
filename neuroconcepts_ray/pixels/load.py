"""What a CPU task does: read and decode the films of a shard. Without torch, so that such a task starts soon."""

import time
from functools import lru_cache, partial
from typing import Any

import numpy as np

from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.catalog.sources import Source, read_source
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.reading import Patience
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import Undecodable
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Quarantined
from neuroconcepts_ray.lake.shards import Row, Shard, Slip, Start
from neuroconcepts_ray.pixels.shards import find_shard


def open_manifest(lake: Lake, name: tuple[str, str, str]) -> Manifest:
    """The artifact of that kind, recipe and fingerprint.

    Raises:
        InputError: It is gone.
    """
    found = lake.manifest(*name)
    if found is None:
        raise InputError("an input is gone from the lake", value="/".join(name))
    return found


@lru_cache(maxsize=1)
def _films(lake: str, phi: str, catalog: tuple[str, str, str]) -> Films:
    """Opened once a process; so keys, which may carry patient ids, never travel through Ray."""
    opened = Lake.open(lake, phi)
    return Films(opened, open_manifest(opened, catalog))


def films(spec: dict[str, Any]) -> Films:
    """The images of the catalog that a spec names."""
    return _films(spec["lake"], spec["phi"], tuple(spec["catalog"]))


def find(slip: Slip, spec: dict[str, Any]) -> Shard:
    """The shard of a slip, with its rows."""
    return Patience(**spec.get("patience", {})).read(lambda: find_shard(films(spec), slip))


def _some(spec: dict[str, Any], start: Start, size: int) -> tuple[list[Row], dict[str, Source]]:
    return films(spec).some(start, size)


def decode_shard(shard: Shard, spec: dict[str, Any], stage: str) -> Block:
    """Read and decode the images of a shard; those that will never decode are set aside, tombstones passed over.

    Args:
        shard: The shard.
        spec: Has lake, phi, catalog (kind, recipe, artifact), root and pixels.
        stage: Who sets aside.

    Returns:
        uint8 [m, c, s, s] of the films that decode.
    """
    if shard.start is None:
        raise ValueError("a shard of no catalog")
    patience = Patience(**spec.get("patience", {}))
    _, sources = patience.read(partial(_some, spec, shard.start, shard.size))
    pixels = validate(PixelConfig, spec["pixels"])
    images = np.zeros((len(shard.rows), pixels.channels, pixels.size, pixels.size), dtype=np.uint8)
    kept: list[int] = []
    quarantined = []
    seconds = {"read": 0.0, "decode": 0.0}
    for number in shard.live:
        row = shard.rows[number]
        start = middle = time.perf_counter()
        try:
            data = patience.read(partial(read_source, spec["root"], sources[row.image_id]))
            middle = time.perf_counter()
            images[len(kept)] = load_pixels(data, pixels)
            kept.append(number)
        except Undecodable as bad:
            quarantined.append(Quarantined(image_id=row.image_id, stage=stage, cause=bad.cause))
        seconds["read"] += middle - start
        seconds["decode"] += time.perf_counter() - middle
    return Block(images[: len(kept)], kept, quarantined, seconds)


def load(shard: Shard, spec: dict[str, Any]) -> Block:
    """:func:`decode_shard` of this stage."""
    return decode_shard(shard, spec, "pixels")
