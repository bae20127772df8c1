"""A lake with the catalog and codes of a small archive, cut into partitions, as the stages before `index` leave it."""

from pathlib import Path

import numpy as np
from scipy import sparse

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.recipe import Plan, Recipe, digest
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.tables import codes_table
from neuroconcepts_ray.retrieval.config import IndexConfig
from neuroconcepts_ray.retrieval.job import run
from tests.retrieval.model import Archive

SHARD = 16


def open_lake(folder: Path) -> Lake:
    return Lake.open(str(folder / "lake"), str(folder / "phi"))


def artifacts(
    lake: Lake, a: Archive, partitions: tuple[int, ...], *, without: tuple[str, ...] = ()
) -> dict[str, Manifest]:
    """Catalog and codes over the first partitions of an archive.

    Args:
        lake: The lake.
        a: The archive.
        partitions: Rows of each partition.
        without: Images that were quarantined before they were encoded.
    """
    catalog, parts, start = Plan(Recipe("catalog", 1, {}), {"rows": str(sum(partitions))}), [], 0
    encoded = Recipe("codes", 1, {})
    shards: list[Part] = []
    for number, rows in enumerate(partitions):
        some = a.some(list(range(start, start + rows)))
        parts.append(lake.put_part(catalog, f"images-{number:04d}.parquet", to_parquet(some.table), rows=rows))
        kept = [row for row, image_id in enumerate(some.ids) if image_id not in without]
        for at in range(0, len(kept), SHARD):
            piece = some.some(kept[at : at + SHARD])
            table = codes_table(piece.ids, sparse.csr_array(piece.dense.astype(np.float32)))
            name = f"{digest(piece.ids)}.parquet"
            shards.append(lake.put_part(Plan(encoded, {}), name, to_parquet(table), rows=len(piece.ids)))
        start += rows
    facts = {"labels": ["Edema"], "task": "multilabel", "partitions": list(partitions)}
    have = {"catalog": lake.commit_manifest(catalog, "catalog", parts, facts=facts)}
    codes = Plan(encoded, {"catalog": have["catalog"].content})
    have["codes.latents"] = lake.commit_manifest(codes, "codes.latents", shards, facts={"n": a.dense.shape[1]})
    return have


def indexed(lake: Lake, have: dict[str, Manifest], cache: Path) -> Manifest:
    from neuroconcepts_ray.distributed.config import ComputeConfig

    return run(IndexConfig(cache=str(cache)), have, lake, ComputeConfig())["index.latents"]
