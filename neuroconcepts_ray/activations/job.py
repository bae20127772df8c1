"""This stage on Ray: CPU tasks decode shards, actors with the classifier infer and write them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from neuroconcepts_ray.activations.budget import Budget
from neuroconcepts_ray.activations.config import ActivationsConfig, plan
from neuroconcepts_ray.activations.load import load
from neuroconcepts_ray.activations.passes import Work, work
from neuroconcepts_ray.activations.tables import facts_of
from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.shards import map_shards
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, plan_to_json
from neuroconcepts_ray.lake.shards import Slip
from neuroconcepts_ray.pixels.load import find
from neuroconcepts_ray.pixels.packed import find_packed


def _facts(lake: Lake, plan: Plan, shards: Sequence[Slip]) -> dict[str, Any]:
    """What a tap's first finished part says of all."""
    for shard in shards:
        receipt = lake.receipt(plan, shard.key)
        if receipt is not None:
            return facts_of(pq.read_schema(lake.checked(receipt.part)))
    return {"d": 0}


def find_sae(lake: Lake, content: str) -> Manifest:
    """The SAE of that content.

    Raises:
        ConfigError: The lake has none.
    """
    for key in lake.store.list("sae"):
        kind, *names = key.removesuffix(".json").split("/")
        found = lake.manifest(kind, *names) if len(names) == 2 else None
        if found is not None and found.content == content:
            return found
    raise ConfigError(
        "the lake has no such SAE",
        value=content,
        where="activations.sae",
        remedy="Take the content of a finished one, as `status --json` has it",
    )


def _classifiers(lake: Lake, sae: Manifest) -> set[str]:
    """Content of the classifiers whose activations an SAE was fitted to, as far as these are still there."""
    fitted = {content for name, content in sae.inputs.items() if name.startswith("activations.")}
    found = set()
    for key in lake.store.list("activations"):
        kind, *names = key.removesuffix(".json").split("/")
        manifest = lake.manifest(kind, *names) if len(names) == 2 else None
        if manifest is not None and manifest.content in fitted:
            found.add(manifest.inputs["classifier"])
    return found


def _check_sae(config: ActivationsConfig, sae: Manifest, lake: Lake, classifier: Manifest) -> None:
    """Refuse an SAE that was fitted to another network's or module's vectors than it shall encode."""
    known = _classifiers(lake, sae)
    if known and classifier.content not in known:
        raise ConfigError(
            "the SAE was fitted to another classifier",
            value=", ".join(sorted(one[:12] for one in known)),
            limit=classifier.content[:12],
            where="activations.sae",
        )
    module = str(sae.facts["tap"]).partition(":")[0]
    for tap in config.parsed:
        # The head's vector is the mean of the last map under average pooling: its SAE may read that map's positions.
        if tap.keep == "codes" and module not in (tap.module, "pre_logits"):
            raise ConfigError(
                "the SAE reads another tap",
                value=sae.facts["tap"],
                limit=f"{tap.module}, or pre_logits",
                where="activations.sae",
            )


def run(
    config: ActivationsConfig,
    have: Mapping[str, Manifest],
    lake: Lake,
    compute: ComputeConfig,
    root: str,
    *,
    coder: str = "",
    canary: bool = False,
) -> dict[str, Manifest]:
    """Mine every tap that is not there yet: all of whole images in one pass, all of patches in another.

    Args:
        config: Taps and arithmetic.
        have: ``catalog`` and ``classifier``; of ``pixels``, what fits is read instead of films.
        lake: Where the artifacts go.
        compute: Machines.
        root: The archive's root.
        coder: ``module:function`` that opens the SAE of taps ``:codes``; named by who knows both rooms.
        canary: Mine the canary's shards alone, and commit no artifact.

    Returns:
        ``{"activations.<tap>": manifest}`` for every tap; after a canary, for those that are finished.

    Raises:
        EnvironmentFault: A cap of ``compute`` would be exceeded, or is reached; what was done is kept.
    """
    plans = plan(config, have)
    done = {name: manifest for name, mine in plans.items() if (manifest := lake.find(mine)) is not None}
    if len(done) == len(plans):
        return done
    sae = None
    if any(tap.keep == "codes" and f"activations.{tap.name}" not in done for tap in config.parsed):
        sae = find_sae(lake, str(config.sae))
        _check_sae(config, sae, lake, have["classifier"])
    works = [one.canary if canary else one for one in work(config, have, lake) if one.of.plans]
    budget = Budget(lake, works, compute)
    budget.check(config.threads)
    spec = {
        "config": config.model_dump(mode="json"),
        "lake": lake.store.uri,
        "phi": lake.phi.uri,
        "catalog": _name(have["catalog"]),
        "classifier": _name(have["classifier"]),
        "coder": coder,
        "root": root,
        "device": compute.device,
    }
    for number, one in enumerate(works):
        ahead = [_entry(name) for later in works[number:] for name in later.of.plans]
        map_shards(
            one.lead,
            worker="neuroconcepts_ray.activations.miner:Miner",
            find=find,
            load=load,
            compute=compute,
            threads=config.threads,
            label="activations",
            title="patches" if one.of.patched else "activations",
            each=budget.spend,
            spec=spec | _spec(one, have, lake, sae) | {"ahead": ahead},
        )
        if not canary:
            for name, mine in one.of.plans.items():
                done[name] = _assemble(config, name, mine, one, lake, compute)
    return {name: done[name] for name in plans if name in done}


def _spec(one: Work, have: Mapping[str, Manifest], lake: Lake, sae: Manifest | None) -> dict[str, Any]:
    """What a pass's load tasks and actors must know of it."""
    packed = find_packed(have.get("pixels"), one.of.pixels, Films(lake, have["catalog"]))
    lead, *_ = one.slips.values()
    return {
        "plans": {_entry(name): plan_to_json(mine) for name, mine in one.of.plans.items()},
        "dtype": next(iter(one.of.plans.values())).recipe.config["dtype"],
        "sae": [] if sae is None or one.of.patched else _name(sae),
        "images": one.images,
        "pixels": one.of.pixels.model_dump(),
        "packed": None if packed is None else packed.spec(lead),
    }


def _assemble(
    config: ActivationsConfig, name: str, mine: Plan, one: Work, lake: Lake, compute: ComputeConfig
) -> Manifest:
    facts = {"tap": _entry(name), **_facts(lake, mine, one.slips[name])}
    if "reduction" in mine.recipe.config:
        facts |= {"reduction": config.reduction, "tokens": config.tokens}
    if "keep" in mine.recipe.config:
        facts["keep"] = mine.recipe.config["keep"]
    return assemble(
        lake,
        mine,
        name,
        one.slips[name],
        facts=facts,
        max_bad_fraction=compute.max_bad_fraction,
        tolerant=compute.tolerant,
    )


def _entry(name: str) -> str:
    return name.removeprefix("activations.")


def _name(manifest: Manifest) -> list[str]:
    return [manifest.kind, manifest.recipe, manifest.artifact]
