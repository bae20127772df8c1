"""``encode``: every image as a code over the neurons of each space, on Ray; then the statistics of each neuron."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.tables import Catalog, load_catalog
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.shards import map_shards
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.recipe import Plan, digest, plan_to_json
from neuroconcepts_ray.lake.shards import Row, Shard
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.config import SpaceConfig, plan, source_tap
from neuroconcepts_ray.neurons.load import load
from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.neurons.statistics import statistics
from neuroconcepts_ray.neurons.tables import (
    NEURONS,
    NORMALISATION,
    codes_of,
    neurons_table,
    write_normalisation,
)
from neuroconcepts_ray.sae.config import FIT_ROLES
from neuroconcepts_ray.sae.rows import has_role

SHOWN_ROLES = ("probe",)
"""Roles whose images may stand for a neuron."""

HIDDEN_ROLE = "test"
"""The role that no statistic sees."""


def code_shards(lake: Lake, activations: Manifest, recipe: str) -> list[tuple[Shard, Part]]:
    """One shard of codes for each part of activations, with that part.

    The source of a row is the part it stands in, so that codes of an unchanged part are never made again.

    Args:
        lake: The lake.
        activations: The activations.
        recipe: Digest of the codes' recipe.
    """
    found = []
    for part in activations.parts:
        if not part.rows:
            continue
        image_ids = lake.table(part, ["image_id"])["image_id"].to_pylist()
        key = digest([recipe, [[image_id, part.sha256] for image_id in image_ids]])
        rows = [Row(image_id=image_id, source=part.sha256) for image_id in image_ids]
        found.append((Shard(key=key, rows=rows), part))
    return found


def first_partition_normalisation(lake: Lake, catalog: Catalog, activations: Manifest) -> Normalisation:
    """Mean and deviation of each unit over the images of roles fit and probe in the catalog's first partition.

    The first partition is frozen, as classifier and SAE are when an archive grows: codes of old images then stay what
    they were, and old and new images are measured by one yardstick.

    Args:
        lake: The lake.
        catalog: The catalog.
        activations: The tap's activations.
    """
    image_ids, x = load_activations(lake, activations)
    first = set(catalog.image_ids[catalog.partitions[0]].tolist())
    fitted = has_role(image_ids, catalog.image_ids, catalog.roles, FIT_ROLES)
    return Normalisation.of(x[fitted & np.array([image_id in first for image_id in image_ids], dtype=bool)])


@dataclass(frozen=True)
class _Work:
    """What a space needs before it is encoded.

    Attributes:
        plan: Its plan.
        config: Its config.
        files: Parts that belong to the artifact beside the codes.
        n: Its neurons.
        pairs: Its shards, each with the part of activations that it is made from.
        spec: What an encoder is built from; plain JSON.
    """

    plan: Plan
    config: SpaceConfig
    files: list[Part]
    n: int
    pairs: list[tuple[Shard, Part]]
    spec: dict[str, Any]


def _prepare(space: SpaceConfig, planned: Plan, have: Mapping[str, Manifest], lake: Lake, catalog: Catalog) -> _Work:
    activations = have[f"activations.{source_tap(space, have)}"]
    spec: dict[str, Any] = {"plan": plan_to_json(planned), "space": space.model_dump(mode="json")}
    files = []
    if space.origin == "latents":
        sae = have["sae"]
        spec["sae"] = {"kind": sae.kind, "recipe": sae.recipe, "artifact": sae.artifact}
        n = int(sae.facts["n"])
    else:
        data = write_normalisation(first_partition_normalisation(lake, catalog, activations))
        files.append(lake.put_part(planned, NORMALISATION, data))
        spec["normalisation"] = files[0].model_dump()
        n = int(activations.facts["d"])
    return _Work(planned, space, files, n, code_shards(lake, activations, planned.recipe.digest), spec)


def _encode(works: Mapping[str, _Work], lake: Lake, compute: ComputeConfig) -> None:
    """Make the shards that are not done, of all spaces in one pass: actors and their imports start once."""
    todo: list[Shard] = []
    spaces, parts = {}, {}
    for name, work in works.items():
        done = lake.done_shards(work.plan)
        for shard, part in work.pairs:
            if shard.key not in done:
                todo.append(shard)
                spaces[shard.key], parts[shard.key] = name, part.model_dump()
    map_shards(
        todo,
        worker="neuroconcepts_ray.neurons.encoder:Encoders",
        spec={
            "lake": lake.store.uri,
            "phi": lake.phi.uri,
            "device": compute.device,
            "encoders": {name: works[name].spec for name in dict.fromkeys(spaces.values())},
            "spaces": spaces,
            "parts": parts,
        },
        load=load,
        compute=compute,
        threads=1,
        label="encode",
    )


def _commit(
    name: str, work: _Work, have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig, catalog: Catalog
) -> Manifest:
    receipts = lake.receipts(work.plan, [shard.key for shard, _ in work.pairs])
    if any(receipt is None for receipt in receipts):
        raise EnvironmentFault("codes are unfinished", where=name, remedy="Run the same command again")
    codes = codes_of(lake.each([receipt.part for receipt in receipts if receipt is not None]), work.n)
    roles = [role for role in np.unique(catalog.roles).tolist() if role != HIDDEN_ROLE]
    counted = has_role(codes.image_ids, catalog.image_ids, catalog.roles, roles)
    shown = has_role(codes.image_ids, catalog.image_ids, catalog.roles, SHOWN_ROLES)
    stats = statistics(codes.matrix, codes.image_ids, counted, shown, work.config.top_images)
    neurons = lake.put_part(work.plan, NEURONS, to_parquet(neurons_table(stats)), rows=work.n)
    facts = {
        "space": name,
        "origin": work.config.origin,
        "tap": source_tap(work.config, have),
        "n": work.n,
        "sign": "positive",
        "normalisation": "none" if work.config.origin == "latents" else "z-score over fit and probe of partition 0",
        "images_counted": int(counted.sum()),
        "l0": codes.matrix[np.flatnonzero(counted)].nnz / max(1, int(counted.sum())),
    }
    return assemble(
        lake,
        work.plan,
        f"codes.{name}",
        [shard for shard, _ in work.pairs],
        facts=facts,
        files=[*work.files, neurons],
        max_bad_fraction=compute.max_bad_fraction,
        tolerant=compute.tolerant,
    )


def run(
    config: Mapping[str, SpaceConfig], have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig
) -> dict[str, Manifest]:
    """Encode every space that is not finished.

    Args:
        config: The spaces by name.
        have: Artifacts by name: ``catalog``, ``sae`` and the taps' activations.
        lake: The lake.
        compute: Actors and bounds.

    Returns:
        The artifacts ``codes.<space>``.
    """
    plans = {artifact.removeprefix("codes."): planned for artifact, planned in plan(config, have).items()}
    found = {name: lake.find(planned) for name, planned in plans.items()}
    made = {name: manifest for name, manifest in found.items() if manifest is not None}
    if len(made) < len(plans):
        catalog = load_catalog(lake, have["catalog"])
        works = {
            name: _prepare(config[name], planned, have, lake, catalog)
            for name, planned in plans.items()
            if name not in made
        }
        _encode(works, lake, compute)
        made |= {name: _commit(name, work, have, lake, compute, catalog) for name, work in works.items()}
    return {f"codes.{name}": made[name] for name in plans}
