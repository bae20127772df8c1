"""A tiny lake with every kind of record, made without Ray or torch: up to an index with removed images, and refs."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from scipy import sparse

from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Quarantined, Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.shards import Row, Shard, cut
from neuroconcepts_ray.lake.table import tensor_column, to_parquet
from neuroconcepts_ray.neurons.tables import codes_table
from neuroconcepts_ray.retrieval import changes
from tests.retrieval.lakes import indexed
from tests.retrieval.model import archive

IMAGES, BAD = 40, 1
"""Images of the archive, and how many of them will never decode."""


def finish_shards(lake: Lake, plan: Plan, shards: list[Shard], table: "pa.Table", bad: tuple[str, ...] = ()) -> None:
    """Parts and receipts of shards: the rows of ``table`` that are theirs."""
    ids = table["image_id"].to_pylist()
    for shard in shards:
        kept = [ids.index(row.image_id) for row in shard.rows if row.image_id not in bad]
        data = to_parquet(table.take(pa.array(kept, pa.int64())))
        part = lake.put_part(plan, f"{shard.key}.parquet", data, rows=len(kept))
        aside = [
            Quarantined(image_id=row.image_id, stage="activations", cause="truncated")
            for row in shard.rows
            if row.image_id in bad
        ]
        lake.commit_receipt(plan, Receipt(shard=shard.key, part=part, quarantined=aside, profile={"device": "cpu"}))


def make(lake: Lake, cache: Path, images: int = IMAGES) -> dict[str, Manifest]:
    """A chain's artifacts as far as no model is needed; two images are removed from the index.

    Args:
        lake: An empty lake.
        cache: Folder for what has been fetched.
        images: Images of the archive.
    """
    a = archive(5, m=images, n=12)
    ids = a.ids
    bad = (ids[3],)
    catalog = Plan(Recipe("catalog", 1, {"labels": ["Edema"]}), {"archive": "of the tests"})
    sources = pa.table({"image_id": ids, "key": [f"p1/{one}.jpg" for one in ids], "sha256": ["0" * 64] * len(ids)})
    parts = [
        lake.put_part(catalog, "images-0000.parquet", to_parquet(a.table), rows=len(ids)),
        lake.put_part(catalog, "sources-0000.parquet", to_parquet(sources), rows=len(ids), root="phi"),
    ]
    facts = {"labels": ["Edema"], "task": "multilabel", "partitions": [len(ids)], "images": len(ids)}
    have = {"catalog": lake.commit_manifest(catalog, "catalog", parts, facts=facts)}
    lake.advance("catalog-tiny", have["catalog"])

    dense = a.dense.astype(np.float32)
    rows = [Row(image_id=one, source=one) for one in ids]
    stages = (
        ("activations", pa.table({"image_id": ids, "activation": tensor_column(dense)}), {"d": 12}),
        ("codes", codes_table(ids, sparse.csr_array(dense)), {"n": 12}),
    )
    above, aside = {"catalog": have["catalog"].content}, bad
    for kind, table, told in stages:
        plan = Plan(Recipe(kind, 1, {}), above)
        shards = list(cut(rows, plan.recipe.digest, 1, 16))
        finish_shards(lake, plan, shards, table, aside)
        name = {"activations": "activations.pre_logits", "codes": "codes.latents"}[kind]
        have[name] = assemble(lake, plan, name, shards, facts=told, max_bad_fraction=0.1)
        above = {"catalog": have["catalog"].content, name: have[name].content}
        rows, aside = [row for row in rows if row.image_id not in bad], ()
    have["index.latents"] = indexed(lake, have, cache)
    changes.remove(lake, have["index.latents"], cache, ids[:2])
    return have
