"""Packed pixels for whoever reads films by their place in the catalog: which parts hold them, and the reading."""

import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any

import numpy as np
from jaxtyping import UInt8

from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.progress import event
from neuroconcepts_ray.distributed.reading import Patience
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Quarantined
from neuroconcepts_ray.lake.shards import Shard, Slip
from neuroconcepts_ray.pixels.config import fits
from neuroconcepts_ray.pixels.shards import image_slips
from neuroconcepts_ray.pixels.tables import of_part


@dataclass(frozen=True)
class Packed:
    """Packed pixels of every film of a catalog.

    Attributes:
        manifest: Of kind ``pixels``; its parts are those of ``shards``.
        shards: How the catalog's rows were cut.
        ends: The row of the catalog after each shard's last.
    """

    manifest: Manifest
    shards: list[Slip]
    ends: list[int]

    @property
    def causes(self) -> dict[str, str]:
        """Why an image has no row, by image_id."""
        return {bad.image_id: bad.cause for bad in self.manifest.quarantined}

    @property
    def profile(self) -> dict[str, str]:
        """What decoded them, in the terms of a numeric profile: it takes the place of what would decode here."""
        return dict(self.manifest.profile)

    def within(self, first: int, end: int) -> range:
        """Numbers of the shards that hold rows ``first`` to ``end − 1`` of the catalog."""
        return range(bisect_right(self.ends, first), bisect_right(self.ends, end - 1) + 1) if end > first else range(0)

    def spec(self, shards: Sequence[Shard | Slip]) -> dict[str, Any]:
        """What a load task needs of it, as plain JSON data.

        Args:
            shards: All shards of another cut of the same catalog, in order.
        """
        parts, first = {}, 0
        for shard in shards:
            end = first + shard.size
            parts[shard.key] = [self.manifest.parts[number].model_dump() for number in self.within(first, end)]
            first = end
        return {"parts": parts, "causes": self.causes, "profile": self.profile}


def find_packed(manifest: Manifest | None, geometry: PixelConfig, films: Films) -> Packed | None:
    """Packed pixels, if they are exactly what decoding the catalog's films would give; says so where they are not.

    Args:
        manifest: Of kind ``pixels``, if there is one.
        geometry: How the network sees a film.
        films: The catalog's images.
    """
    if manifest is None:
        return None
    shards = []
    if fits(manifest, geometry):
        # Keys are made of image_ids and source digests: equal names are the same films.
        rows = int(manifest.recipe_body["config"]["shard_rows"])
        shards = image_slips(films, manifest.recipe, geometry, rows)
    same = bool(shards) and [f"{shard.key}.parquet" for shard in shards] == [part.name for part in manifest.parts]
    event(
        "pixels", packed=same, why="" if same else "packed for another geometry, decoder or catalog; films are decoded"
    )
    return Packed(manifest, shards, list(accumulate(shard.size for shard in shards))) if same else None


def read_part(lake: Lake, part: Part) -> tuple[list[str], UInt8[np.ndarray, "n c s s"], dict[str, float]]:
    """A part's image_ids and pixels, and the seconds that reading it took.

    Raises:
        InputError: It is gone.
        DigestError: It was altered.
    """
    start = time.perf_counter()
    data = lake.read(part)
    middle = time.perf_counter()
    image_ids, pixels = of_part(data)
    return image_ids, pixels, {"read": middle - start, "decode": time.perf_counter() - middle}


def cause_of(causes: Mapping[str, str], image_id: str) -> str:
    """Why an image has no packed pixels.

    Raises:
        InputError: Nobody knows.
    """
    if image_id not in causes:
        raise InputError("packed pixels lack an image of their shard", where=f"image {image_id}")
    return causes[image_id]


@lru_cache(maxsize=1)
def _last(lake: str, phi: str, part: Part) -> tuple[list[str], UInt8[np.ndarray, "n c s s"], dict[str, float]]:
    """The part that was read last in this process: the next shard may want its other rows."""
    return read_part(Lake.open(lake, phi), part)


def load_packed(shard: Shard, spec: Mapping[str, Any], stage: str) -> Block:
    """The pixels of a shard from the parts that hold them; what was set aside when they were packed is set aside.

    Args:
        shard: The shard.
        spec: Has lake, phi, and packed (:meth:`Packed.spec`).
        stage: Who sets aside.

    Returns:
        uint8 [m, c, s, s] of the films that decoded; a view where one part holds them all.
    """
    wanted = {shard.rows[number].image_id: number for number in shard.live}
    patience = Patience(**spec.get("patience", {}))
    kept: list[int] = []
    blocks = []
    seconds = {"read": 0.0, "decode": 0.0}
    for raw in spec["packed"]["parts"][shard.key]:
        misses = _last.cache_info().misses
        image_ids, pixels, spent = patience.read(partial(_last, spec["lake"], spec["phi"], Part(**raw)))
        if _last.cache_info().misses > misses:
            seconds = {step: seconds[step] + spent[step] for step in seconds}
        at = [row for row, image_id in enumerate(image_ids) if image_id in wanted]
        # Both cuts have the catalog's order, so what a part holds of a shard stands together, unless a row is masked.
        together = len(at) == (at[-1] - at[0] + 1 if at else 0)
        blocks.append(pixels[at[0] : at[-1] + 1] if at and together else pixels[at])
        kept += [wanted[image_ids[row]] for row in at]
    there = set(kept)
    causes = spec["packed"]["causes"]
    aside = [
        Quarantined(image_id=image_id, stage=stage, cause=cause_of(causes, image_id))
        for image_id, number in wanted.items()
        if number not in there
    ]
    return Block(blocks[0] if len(blocks) == 1 else np.concatenate(blocks), kept, aside, seconds)
