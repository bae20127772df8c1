"""``fit``: sparse autoencoders on Ray Train, one or a sweep of them over one stream of batches."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.peers import Group
from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.distributed.train import Save, State, World, forget, train
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, canonical_json
from neuroconcepts_ray.sae import sweep as sweeps
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.bring import Figures, bring
from neuroconcepts_ray.sae.config import CHOICE_ROLE, FIT_ROLES, SAEConfig, plan, resolved
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.fit import Member, fit, saves
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.measure import PART as METRICS
from neuroconcepts_ray.sae.measure import measured
from neuroconcepts_ray.sae.model import SAE, save_sae
from neuroconcepts_ray.sae.peers import ALONE
from neuroconcepts_ray.sae.progress import Progress, check_state
from neuroconcepts_ray.sae.source import training_rows

HISTORY = "history.json"


def _address(manifest: Manifest) -> dict[str, str]:
    return {"kind": manifest.kind, "recipe": manifest.recipe, "artifact": manifest.artifact}


def _open(lake: Lake, address: dict[str, str]) -> Manifest:
    manifest = lake.manifest(**address)
    if manifest is None:
        raise InputError("an input artifact is gone", where=address["artifact"], remedy="Run the stage before again")
    return manifest


def _of_member(tensors: Mapping[str, torch.Tensor], artifact: str) -> dict[str, torch.Tensor]:
    start = f"{artifact}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def loop(spec: dict[str, Any], world: World, resume: State | None, save: Save) -> None:
    """The training loop as :func:`neuroconcepts_ray.distributed.train.train` calls it.

    ``spec["members"]`` are configs by fingerprint, of which each rank has its share where ``spec["by_member"]``. A
    checkpoint holds the members that the run began with: a run that was killed between two commits finds fewer to do,
    and goes on with all that it had.
    """
    mine = list(spec["members"])[world.rank :: world.size] if spec["by_member"] else list(spec["members"])
    lake = Lake.open(spec["lake"], spec["phi"])
    catalog, activations = _open(lake, spec["catalog"]), _open(lake, spec["activations"])
    profile = numeric_profile(device=spec["device"])
    wanted = [artifact for artifact in mine if artifact in spec["wanted"]]
    if resume is not None and (
        # Half of one arithmetic and half of another would be neither's bytes.
        resume.meta["profile"] != profile or not set(wanted) <= resume.meta.get("members", {}).keys()
    ):
        if spec["by_member"]:  # the others go on: ranks that save unequally often would wait for each other for ever
            raise InputError(
                "a checkpoint of these SAEs was made by another processor or version",
                where=f"rank {world.rank}",
                remedy="Run it where it began, or move the training's folder under training/ in the lake away",
            )
        resume = None
    histories: dict[str, Any] = dict.fromkeys(wanted) if resume is None else resume.meta["members"]
    configs = {artifact: validate(SAEConfig, spec["members"][artifact]) for artifact in histories or mine[:1]}
    first = next(iter(configs.values()))
    rows = training_rows(lake, catalog, activations, first.memory, spec["device"])
    members = {}
    for artifact, history in histories.items():
        config = configs[artifact].resolve_steps(len(rows))
        if resume is None:
            members[artifact] = Member(config, begin(rows, config))
            continue
        tensors = _of_member(resume.tensors, artifact)
        check_state(tensors, config.width(rows.d), rows.d)
        state = Progress.from_tensors(tensors, resume.meta["step"], spec["device"])
        members[artifact] = Member(config, state, history)
        del tensors  # of the mapped file
    resumed = None if resume is None else int(resume.meta["step"])
    resume = None  # the members have copies

    def checkpoint(step: int, told: list[dict[str, float]]) -> None:
        tensors = {
            f"{artifact}.{name}": tensor
            for artifact, member in members.items()
            for name, tensor in member.state.tensors().items()
        }
        meta = {"step": step, "profile": profile, "members": {key: one.history for key, one in members.items()}}
        save(State(tensors, json.loads(json.dumps(meta))), {"step": step} | told[0])

    if not members:  # its share was committed before: it keeps step with the others
        for step in saves(first.resolve_steps(len(rows)), 0 if resumed is None else resumed):
            checkpoint(step, [{}])
        return
    peers = Group() if world.size > 1 and not spec["by_member"] else ALONE
    fit(rows, list(members.values()), checkpoint, peers)


def _trained(
    configs: Mapping[str, SAEConfig],
    wanted: Sequence[str],
    have: Mapping[str, Manifest],
    lake: Lake,
    compute: ComputeConfig,
    workers: int,
) -> State:
    """The last state of a training of members that share a stream, by fingerprint.

    ``workers`` share the members; a data-parallel member has workers of its own.
    """
    config = next(iter(configs.values()))
    steps = config.steps
    if config.epochs is not None:
        catalog = load_catalog(lake, have["catalog"])
        images = int(np.isin(catalog.roles, FIT_ROLES).sum())
        steps = config.resolve_steps(images).steps  # for progress: the loop counts those that were mined
    spec = {
        "members": {artifact: one.model_dump(mode="json") for artifact, one in configs.items()},
        "wanted": list(wanted),
        "lake": lake.store.uri,
        "phi": lake.phi.uri,
        "catalog": _address(have["catalog"]),
        "activations": _address(have[f"activations.{config.tap}"]),
        "device": compute.device,
        "by_member": workers > 1,
    }
    how: dict[str, Any] = {
        "name": sweeps.name(list(configs), workers),
        "folder": lake.training,
        "compute": compute,
        "threads": config.threads,
        "label": "fit" if len(wanted) == 1 else f"fit {len(wanted)} SAEs",
        "total": steps,
        "workers": max(workers, config.workers),
    }
    if workers == 1:
        state: State = train(loop, spec, **how)
        return state
    states = train(loop, spec, **how, sharded=True)
    members = {key: history for state in states for key, history in state.meta["members"].items()}
    tensors = {name: tensor for state in states for name, tensor in state.tensors.items()}
    return State(tensors, states[0].meta | {"members": members})


def _figures(config: SAEConfig, have: Mapping[str, Manifest], lake: Lake, sae: SAE) -> Figures:
    return measured(lake, have, config.tap, CHOICE_ROLE, sae, config.memory)


def _commit(state: State, config: SAEConfig, planned: Plan, have: Mapping[str, Manifest], lake: Lake) -> Manifest:
    """Fold a member's last state, measure it on role select, and commit it."""
    torch.set_num_threads(config.threads)
    last = Progress.from_tensors(_of_member(state.tensors, planned.artifact), state.meta["step"], copy=False)
    sae = fold(last, objective(config, len(last.idle)).at(last.step))
    facts, everything = _figures(config, have, lake, sae)
    files = save_sae(sae, config.tap, config.variant)
    files |= {METRICS: canonical_json(everything), HISTORY: canonical_json(state.meta["members"][planned.artifact])}
    parts = [lake.put_part(planned, name, data) for name, data in files.items()]
    about = {"variant": config.variant, "tap": config.tap, "n": sae.n, "d": sae.d, "k": sae.k, CHOICE_ROLE: facts}
    return lake.commit_manifest(planned, "sae", parts, facts=about, profile=state.meta["profile"])


def sweep(
    configs: Sequence[SAEConfig], have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig, *, workers: int = 1
) -> list[Manifest]:
    """Fit SAEs, those that can over one stream of batches; each is bitwise what it would be alone.

    Args:
        configs: Their configs.
        have: Artifacts by name: ``catalog``, the taps' activations and, for AUROC, ``classifier``.
        lake: The lake.
        compute: Resources of a training worker.
        workers: Workers among whom the members of a stream are shared; changes no result.

    Returns:
        The artifacts ``sae`` in the order of the configs; those that are finished already are found.
    """
    configs = [resolved(config) for config in configs]
    plans = [next(iter(plan(config, have).values())) for config in configs]
    made: dict[str, Manifest] = {}
    for stream in sweeps.streams(configs):
        members = {plans[number].artifact: number for number in stream}
        made |= {key: one for key, number in members.items() if (one := lake.find(plans[number])) is not None}
        for key, number in members.items():
            config, planned = configs[number], plans[number]
            if key not in made and config.weights is not None:
                made[key] = bring(config.weights, planned, lake, partial(_figures, config, have, lake))
        wanted = [key for key in members if key not in made]
        if not wanted:
            continue
        trained = {key: configs[number] for key, number in members.items()}
        share = min(workers, len(trained))
        state = _trained(trained, wanted, have, lake, compute, share)
        for key in wanted:
            made[key] = _commit(state, trained[key], plans[members[key]], have, lake)
        forget(lake.training, sweeps.name(list(trained), share))
    return [made[planned.artifact] for planned in plans]


def run(config: SAEConfig, have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig) -> dict[str, Manifest]:
    """Fit the SAE, measure it on role select, and commit it.

    Args:
        config: The config.
        have: Artifacts by name: ``catalog``, the tap's activations and, for AUROC, ``classifier``.
        lake: The lake.
        compute: Resources of the training worker.

    Returns:
        The artifact ``sae``.
    """
    return {"sae": sweep([config], have, lake, compute)[0]}
