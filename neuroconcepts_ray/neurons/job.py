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
from neuroconcepts_ray.lake.manifest import Manifest, Part, Receipt
from neuroconcepts_ray.lake.recipe import Plan, plan_to_json
from neuroconcepts_ray.lake.shards import Shard
from neuroconcepts_ray.neurons.config import SpaceConfig, plan, source_tap
from neuroconcepts_ray.neurons.load import load
from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.neurons.shards import code_shards
from neuroconcepts_ray.neurons.summary import summarise
from neuroconcepts_ray.neurons.tables import NEURONS, NORMALISATION, codes_of, write_normalisation
from neuroconcepts_ray.sae.config import FIT_ROLES
from neuroconcepts_ray.sae.rows import has_role


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
        # Committed once a recipe: it stays when one of the images that it was made from is erased.
        held = lake.receipt(planned, NORMALISATION)
        if held is None:
            data = write_normalisation(first_partition_normalisation(lake, catalog, activations))
            part = lake.put_part(planned, NORMALISATION, data)
            held = lake.commit_receipt(planned, Receipt(shard=NORMALISATION, part=part))
        files.append(held.part)
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
    neurons, counted = summarise(codes, catalog, work.config.top_images)
    facts = {
        "space": name,
        "origin": work.config.origin,
        "tap": source_tap(work.config, have),
        "n": work.n,
        "sign": "positive",
        "normalisation": "none" if work.config.origin == "latents" else "z-score over fit and probe of partition 0",
        **counted,
    }
    return assemble(
        lake,
        work.plan,
        f"codes.{name}",
        [shard for shard, _ in work.pairs],
        facts=facts,
        files=[*work.files, lake.put_part(work.plan, NEURONS, neurons, rows=work.n)],
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
