"""``fit``: the sparse autoencoder on Ray Train."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.roles import check_disjoint
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.peers import Group
from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.distributed.train import Save, State, World, forget, train
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import canonical_json
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.bring import bring
from neuroconcepts_ray.sae.config import CHOICE_ROLE, FIT_ROLES, SAEConfig, plan, resolved
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.fit import Member, fit
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.measure import PART as METRICS
from neuroconcepts_ray.sae.measure import measured
from neuroconcepts_ray.sae.metrics import Metrics, evaluate
from neuroconcepts_ray.sae.model import SAE, load_sae, save_sae
from neuroconcepts_ray.sae.peers import ALONE
from neuroconcepts_ray.sae.progress import Progress, check_shapes
from neuroconcepts_ray.sae.rows import has_role
from neuroconcepts_ray.sae.source import training_rows

HISTORY = "history.json"


def _address(manifest: Manifest) -> dict[str, str]:
    return {"kind": manifest.kind, "recipe": manifest.recipe, "artifact": manifest.artifact}


def _open(lake: Lake, address: dict[str, str]) -> Manifest:
    manifest = lake.manifest(**address)
    if manifest is None:
        raise InputError("an input artifact is gone", where=address["artifact"], remedy="Run the stage before again")
    return manifest


def role_activations(
    lake: Lake, catalog: Manifest, activations: Manifest, *roles: tuple[str, ...]
) -> list[Float[np.ndarray, "m d"]]:
    """Activations of the images of each set of roles, in the table's order.

    Args:
        lake: The lake.
        catalog: The catalog.
        activations: Activations of one tap.
        roles: Sets of roles.

    Raises:
        LeakageError: A group has more than one role.
        InputError: A set of roles without images.
    """
    images = load_catalog(lake, catalog)
    check_disjoint(images.groups, images.roles)
    image_ids, x = load_activations(lake, activations)
    found = []
    for wanted in roles:
        rows = has_role(image_ids, images.image_ids, images.roles, wanted)
        if not rows.any():
            raise InputError(
                "no image has any of these roles",
                value=", ".join(wanted),
                where=activations.name,
                remedy="Set the catalog's role shares so that each role has patients",
            )
        found.append(x[rows])
    return found


def loop(spec: dict[str, Any], world: World, resume: State | None, save: Save) -> None:
    """The training loop as :func:`neuroconcepts_ray.distributed.train.train` calls it."""
    config = validate(SAEConfig, spec["config"])
    lake = Lake.open(spec["lake"], spec["phi"])
    catalog, activations = _open(lake, spec["catalog"]), _open(lake, spec["activations"])
    profile = numeric_profile(device=spec["device"])
    if resume is not None and resume.meta["profile"] != profile:
        resume = None  # half of one arithmetic and half of another would be neither's bytes
    rows = training_rows(lake, catalog, activations, config.memory, spec["device"])
    if resume is None:
        member = Member(config, begin(rows, config))
    else:
        check_shapes(resume.tensors, config.width(rows.d), rows.d)
        state = Progress.from_tensors(resume.tensors, resume.meta["step"], spec["device"])
        member = Member(config, state, resume.meta["history"])

    def checkpoint(step: int, told: list[dict[str, float]]) -> None:
        meta = {"step": step, "profile": profile, "history": member.history}
        save(State(member.state.tensors(), json.loads(json.dumps(meta))), {"step": step} | told[0])

    fit(rows, [member], checkpoint, Group() if world.size > 1 else ALONE)


def measure(lake: Lake, have: Mapping[str, Manifest], tap: str, role: str) -> Metrics:
    """Metrics of the artifact ``sae`` on one role, such as ``test`` for a report.

    Args:
        lake: The lake.
        have: Artifacts by name: ``catalog``, ``sae`` and the tap's activations.
        tap: The tap that the SAE was fitted on.
        role: The role whose images it is measured on.

    Raises:
        InputError: The role is one that the SAE was trained on.
    """
    return _measured(lake, have, tap, role, load_sae(lake, have["sae"]))


def _measured(lake: Lake, have: Mapping[str, Manifest], tap: str, role: str, sae: SAE) -> Metrics:
    if role in FIT_ROLES:
        raise InputError("this role trained the SAE: a figure on it is not held out", value=role, limit="other roles")
    fitted, held_out = role_activations(lake, have["catalog"], have[f"activations.{tap}"], FIT_ROLES, (role,))
    return evaluate(sae, held_out, fitted)


def run(config: SAEConfig, have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig) -> dict[str, Manifest]:
    """Fit the SAE, measure it on role select, and commit it.

    Args:
        config: The config.
        have: Artifacts by name: ``catalog`` and the tap's activations.
        lake: The lake.
        compute: Resources of the training worker.

    Returns:
        The artifact ``sae``.
    """
    config = resolved(config)
    (planned,) = plan(config, have).values()
    done = lake.find(planned)
    if done is not None:
        return {"sae": done}
    if config.weights is not None:
        return {
            "sae": bring(config.weights, planned, lake, lambda sae: _measured(lake, have, config.tap, CHOICE_ROLE, sae))
        }
    spec = {
        "config": config.model_dump(mode="json"),
        "lake": lake.store.uri,
        "phi": lake.phi.uri,
        "catalog": _address(have["catalog"]),
        "activations": _address(have[f"activations.{config.tap}"]),
        "device": compute.device,
    }
    folder = lake.training
    state = train(
        loop,
        spec,
        name=planned.artifact,
        folder=folder,
        compute=compute,
        threads=config.threads,
        label="fit",
        total=config.steps,
        workers=config.workers,
    )
    torch.set_num_threads(config.threads)
    last = Progress.from_tensors(state.tensors, state.meta["step"])
    sae = fold(last, objective(config, len(last.idle)).at(last.step))
    figures, everything = measured(lake, have, config.tap, CHOICE_ROLE, sae)
    files = save_sae(sae, config.tap, config.variant)
    files |= {METRICS: canonical_json(everything), HISTORY: canonical_json(state.meta["history"])}
    parts = [lake.put_part(planned, name, data) for name, data in files.items()]
    facts = {
        "variant": config.variant,
        "tap": config.tap,
        "n": sae.n,
        "d": sae.d,
        "k": sae.k,
        CHOICE_ROLE: figures,
    }
    manifest = lake.commit_manifest(planned, "sae", parts, facts=facts, profile=state.meta["profile"])
    forget(folder, planned.artifact)
    return {"sae": manifest}
