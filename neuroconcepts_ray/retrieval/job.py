"""Indexing as a stage, in the driver, for a second's work needs no Ray; and the neighbours of a whole role, on Ray."""

from collections.abc import Mapping

from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.shards import map_shards
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import plan_to_json
from neuroconcepts_ray.retrieval import base, bulk, changes, faiss_guard
from neuroconcepts_ray.retrieval.config import IndexConfig, plan
from neuroconcepts_ray.retrieval.query import Query


def run(
    config: IndexConfig,
    have: Mapping[str, Manifest],
    lake: Lake,
    compute: ComputeConfig,  # noqa: ARG001 - every stage is called alike
) -> dict[str, Manifest]:
    """Index the codes of every space that has no index yet, and publish what was made.

    Args:
        config: Settings.
        have: ``catalog``, ``codes.<space>`` and, for spaces of units, their taps' activations.
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
            units = codes.facts.get("origin") == "units"
            activations = have[f"activations.{codes.facts['tap']}"] if units else None
            found = base.build(lake, one, name, have["catalog"], codes, config.cache_folder, activations)
        # Asked of the refs, not of who built it: a run that ended between the two is made good by the next.
        if not changes.was_published(lake, found):
            changes.publish(lake, found, config.cache_folder)
        made[name] = found
    return made


def neighbours(
    config: IndexConfig, index: Manifest, role: str, query: Query, lake: Lake, compute: ComputeConfig
) -> Manifest:
    """The nearest images of every image of a role.

    Args:
        config: Settings of the index.
        index: What the `index` stage made; the newest state over it is asked.
        role: Whose neighbours are wanted.
        query: What is asked for each image, its ``like`` empty.
        lake: The lake.
        compute: Actors and bounds.

    Returns:
        One row an image: ``image_id``, ``neighbours``, ``scores``.

    Raises:
        InputError: No image has this role.
    """
    state = changes.published(lake, index)
    planned = bulk.plan(state.manifest, query)
    opened = state.open(lake, config.cache_folder)
    every = bulk.shards(opened, role, planned)
    done = lake.done_shards(planned)
    manifest = state.manifest
    map_shards(
        [shard for shard in every if shard.key not in done],
        worker="neuroconcepts_ray.retrieval.bulk:Neighbours",
        spec={
            "lake": lake.store.uri,
            "phi": lake.phi.uri,
            "plan": plan_to_json(planned),
            "query": query.model_dump(mode="json"),
            "index": {"kind": manifest.kind, "recipe": manifest.recipe, "artifact": manifest.artifact},
            "gone": list(state.gone),
            "cache": str(config.cache_folder),
        },
        load=bulk.load,
        compute=compute,
        threads=1,
        label="neighbours",
    )
    return assemble(lake, planned, index.name.replace("index", "neighbours"), every, facts={"role": role})
