"""Indexing as a stage: one pass over the codes in the driver, so nothing of it runs on Ray."""

from collections.abc import Mapping

from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.retrieval import base, changes, faiss_guard
from neuroconcepts_ray.retrieval.config import IndexConfig, plan


def run(
    config: IndexConfig,
    have: Mapping[str, Manifest],
    lake: Lake,
    compute: ComputeConfig,  # noqa: ARG001 - every stage is called alike
) -> dict[str, Manifest]:
    """Index the codes of every space that has no index yet, and publish what was made.

    Args:
        config: Settings.
        have: ``catalog`` and ``codes.<space>``.
        lake: The lake.
        compute: Unused: 377,110 codes take seconds.

    Returns:
        ``index.<space>`` for every space.

    Raises:
        EnvironmentFault: No FAISS, or more than one.
    """
    made: dict[str, Manifest] = {}
    for name, one in plan(config, have).items():
        found = lake.find(one)
        if found is None:
            faiss_guard.load()
            codes = have[f"codes.{name.removeprefix('index.')}"]
            found = base.build(lake, one, name, have["catalog"], codes, config.cache_folder)
            changes.publish(lake, found, config.cache_folder)
        made[name] = found
    return made
