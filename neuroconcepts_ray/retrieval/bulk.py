"""The neighbours of every image of a role: shards of queries over a pool of actors that map the same index."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe, plan_from_json
from neuroconcepts_ray.lake.shards import Row, Shard, cut
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import open_index

ALGORITHM = 1
"""Raised whenever the same index would give other neighbours."""

SHARD = 1024
"""Queries of a shard: about two seconds of one core at 377,110 images."""


def plan(index: Manifest, query: Query) -> Plan:
    """The plan of the neighbours of an index.

    Args:
        index: The state of the index that is asked.
        query: What is asked for each image, its ``like`` still empty.
    """
    fields = query.model_dump(mode="json", exclude={"like"})
    return Plan(Recipe("neighbours", ALGORITHM, fields), {"index": index.content})


def shards(index: Index, role: str, planned: Plan) -> list[Shard]:
    """The queries: every live image of a role, in order of image_id.

    Args:
        index: The opened index.
        role: The role.
        planned: The plan of the neighbours.

    Raises:
        InputError: No image has this role.
    """
    ids: list[str] = []
    for segment in index.segments:
        rows = np.flatnonzero(segment.images.mask("role", frozenset([role])) & segment.live())
        ids += segment.images.ids.take(pa.array(rows)).to_pylist()
    if not ids:
        raise InputError("no image of the index has this role", value=role, limit=", ".join(index.values("role")))
    source = planned.inputs["index"]
    rows_of = [Row(image_id=image_id, source=source) for image_id in sorted(ids)]
    return list(cut(rows_of, planned.recipe.digest, 1, SHARD))


def load(shard: Shard, spec: dict[str, Any]) -> Block:  # noqa: ARG001 - every load is called alike
    """Nothing to load: the queries are the shard's own ids."""
    numbers = list(range(len(shard.rows)))
    return Block(np.array(numbers, np.int64), numbers)


class Neighbours:
    """Maps the index once; answers a shard of queries, writes it and commits its receipt."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.lake = Lake.open(spec["lake"], spec["phi"])
        self.plan = plan_from_json(spec["plan"])
        self.query = validate(Query, spec["query"])
        manifest = self.lake.manifest(**spec["index"])
        if manifest is None:
            raise InputError("the index is gone", where=spec["index"]["artifact"], remedy="Run `index` again")
        self.service = SearchService(open_index(self.lake, manifest, Path(spec["cache"]), gone=spec["gone"]))

    def __call__(self, shard: Shard, block: Block) -> dict[str, float]:
        """Search, write the part, commit the receipt; seconds by step."""
        start = time.perf_counter()
        ids = [shard.rows[row].image_id for row in block.kept]
        hits = self.service.nearest(ids, self.query)
        searched = time.perf_counter()
        table = pa.table(
            {
                "image_id": pa.array(ids, pa.string()),
                "neighbours": pa.array([[hit.image_id for hit in some] for some in hits], pa.list_(pa.string())),
                "scores": pa.array([[hit.score for hit in some] for some in hits], pa.list_(pa.float64())),
            }
        )
        part = self.lake.put_part(self.plan, f"{shard.key}.parquet", to_parquet(table), rows=len(ids))
        seconds = {"infer": searched - start, "write": time.perf_counter() - searched}
        self.lake.commit_receipt(self.plan, Receipt(shard=shard.key, part=part, seconds=seconds))
        return seconds
