"""``encode``: every image as a code over the neurons of each space, on Ray; then the statistics of each neuron."""

from collections.abc import Mapping
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


def _space(
    name: str, space: SpaceConfig, planned: Plan, have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig
) -> Manifest:
    activations = have[f"activations.{source_tap(space, have)}"]
    catalog = load_catalog(lake, have["catalog"])
    files = []
    spec: dict[str, Any] = {
        "lake": lake.store.uri,
        "phi": lake.phi.uri,
        "plan": plan_to_json(planned),
        "space": space.model_dump(mode="json"),
        "device": compute.device,
    }
    if space.origin == "latents":
        sae = have["sae"]
        spec["sae"] = {"kind": sae.kind, "recipe": sae.recipe, "artifact": sae.artifact}
        n = int(sae.facts["n"])
    else:
        data = write_normalisation(first_partition_normalisation(lake, catalog, activations))
        files.append(lake.put_part(planned, NORMALISATION, data))
        spec["normalisation"] = files[0].model_dump()
        n = int(activations.facts["d"])

    pairs = code_shards(lake, activations, planned.recipe.digest)
    done = lake.done_shards(planned)
    todo = [(shard, part) for shard, part in pairs if shard.key not in done]
    spec["parts"] = {shard.key: part.model_dump() for shard, part in todo}
    shards = [shard for shard, _ in todo]
    map_shards(
        shards,
        worker="neuroconcepts_ray.neurons.encoder:Encoder",
        spec=spec,
        load=load,
        compute=compute,
        threads=1,
        label=f"encode {name}",
    )

    receipts = [lake.receipt(planned, shard.key) for shard, _ in pairs]
    if any(receipt is None for receipt in receipts):
        raise EnvironmentFault("codes are unfinished", where=name, remedy="Run the same command again")
    codes = codes_of([lake.table(receipt.part) for receipt in receipts if receipt is not None], n)
    roles = [role for role in np.unique(catalog.roles).tolist() if role != HIDDEN_ROLE]
    counted = has_role(codes.image_ids, catalog.image_ids, catalog.roles, roles)
    shown = has_role(codes.image_ids, catalog.image_ids, catalog.roles, SHOWN_ROLES)
    stats = statistics(codes.matrix, codes.image_ids, counted, shown, space.top_images)
    files.append(lake.put_part(planned, NEURONS, to_parquet(neurons_table(stats)), rows=n))
    facts = {
        "space": name,
        "origin": space.origin,
        "tap": source_tap(space, have),
        "n": n,
        "sign": "positive",
        "normalisation": "none" if space.origin == "latents" else "z-score over fit and probe of partition 0",
        "images_counted": int(counted.sum()),
        "l0": codes.matrix[np.flatnonzero(counted)].nnz / max(1, int(counted.sum())),
    }
    return assemble(
        lake,
        planned,
        f"codes.{name}",
        [shard for shard, _ in pairs],
        facts=facts,
        files=files,
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
    made = {}
    for artifact, planned in plan(config, have).items():
        name = artifact.removeprefix("codes.")
        made[artifact] = lake.find(planned) or _space(name, config[name], planned, have, lake, compute)
    return made
