"""Indexing as a stage: one pass over the codes in the driver, so nothing of it runs on Ray."""

from collections.abc import Mapping

import numpy as np

from neuroconcepts_ray.catalog.tables import load_catalog, positions
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.tables import load_codes
from neuroconcepts_ray.retrieval import faiss_guard, postings
from neuroconcepts_ray.retrieval.config import IndexConfig, plan
from neuroconcepts_ray.retrieval.tables import IMAGES, POSTINGS, Images


def run(
    config: IndexConfig,
    have: Mapping[str, Manifest],
    lake: Lake,
    compute: ComputeConfig,  # noqa: ARG001 - every stage is called alike
) -> dict[str, Manifest]:
    """Index the codes of every space that has no index yet.

    Args:
        config: Settings.
        have: ``catalog`` and ``codes.<space>``.
        lake: The lake.
        compute: Unused: 377,110 codes take a second.

    Returns:
        ``index.<space>`` for every space.

    Raises:
        EnvironmentFault: No FAISS, or more than one.
    """
    made: dict[str, Manifest] = {}
    for name, one in plan(config, have).items():
        found = lake.find(one)
        if found is None:
            faiss = faiss_guard.load()
            space = name.removeprefix("index.")
            catalog = load_catalog(lake, have["catalog"])
            codes = load_codes(lake, have[f"codes.{space}"])
            rows = positions(codes.image_ids, catalog.image_ids)
            values = codes.matrix.astype(np.float64)
            images = Images(
                codes.image_ids,
                catalog.studies[rows],
                catalog.groups[rows],
                catalog.views[rows],
                catalog.roles[rows],
                np.sqrt(values.multiply(values).sum(axis=1)),
            )
            parts = [
                lake.put_part(one, POSTINGS, postings.build(codes.matrix)),
                lake.put_part(one, IMAGES, to_parquet(images.to_table()), rows=len(images)),
            ]
            facts = {
                "images": len(images),
                "neurons": int(codes.matrix.shape[1]),
                "postings": int(codes.matrix.count_nonzero()),
            }
            found = lake.commit_manifest(one, name, parts, facts=facts, profile={"faiss": str(faiss.__version__)})
        made[name] = found
    return made
