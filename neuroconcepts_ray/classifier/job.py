"""This stage on Ray: train (or take brought weights), score on role select, commit the classifier."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int, UInt8
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors

from neuroconcepts_ray.catalog.films import Films as CatalogFilms
from neuroconcepts_ray.catalog.sources import read_source
from neuroconcepts_ray.catalog.tables import load_catalog, load_sources
from neuroconcepts_ray.classifier.brought import Brought, open_brought
from neuroconcepts_ray.classifier.card import CARD, WEIGHTS, Card
from neuroconcepts_ray.classifier.config import ClassifierConfig, plan
from neuroconcepts_ray.classifier.evaluate import evaluate
from neuroconcepts_ray.classifier.films import load_films, load_packed_films
from neuroconcepts_ray.classifier.heads import as_task
from neuroconcepts_ray.classifier.model import Classifier, card_of
from neuroconcepts_ray.classifier.targets import outputs, truth
from neuroconcepts_ray.classifier.train import Films, fit, gather_json, score_only
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.distributed.train import Save, State, World, forget, train
from neuroconcepts_ray.errors import ConfigError, DigestError, InputError, NeuroconceptsError, from_fields
from neuroconcepts_ray.lake.assemble import check_bad_fraction
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Quarantined
from neuroconcepts_ray.lake.recipe import sha256
from neuroconcepts_ray.pixels.packed import Packed, find_packed

Rows = Int[np.ndarray, " _"]

Load = Callable[[Sequence[int]], tuple[UInt8[np.ndarray, "_ c h w"], dict[int, str]]]
"""The films at some rows of the catalog, and the causes of those that will never decode by their place."""


def _share(
    rows: Mapping[str, Rows], load: Load, world: World
) -> tuple[dict[str, UInt8[np.ndarray, "_ c h w"]], dict[str, Rows], list[tuple[int, str]]]:
    """This rank's share of each role's films: pixels, catalog rows, and the rows that will never decode with cause."""
    films: dict[str, UInt8[np.ndarray, "_ c h w"]] = {}
    kept: dict[str, Rows] = {}
    bad: list[tuple[int, str]] = []
    shares = {role: everybody[world.rank :: world.size] for role, everybody in rows.items()}
    every, all_causes = load(np.concatenate(list(shares.values())).tolist())
    start = 0
    for role, mine in shares.items():
        array = every[start : start + len(mine)]
        causes = {at - start: cause for at, cause in all_causes.items() if start <= at < start + len(mine)}
        start += len(mine)
        bad += [(int(mine[i]), cause) for i, cause in causes.items()]
        good = np.setdiff1d(np.arange(len(mine)), list(causes))
        # Indexing copies, which a file-backed array should be spared where nothing is bad.
        films[role] = array[good] if causes else array
        kept[role] = mine[good]
    return films, kept, bad


def loop(spec: dict[str, Any], world: World, resume: State | None, save: Save) -> None:
    """What each rank does: decode its share of the films, train, save. See :func:`classifier.train.fit`."""
    if resume is not None and resume.meta["done"]:
        return
    card = validate(Card, spec["card"])
    config = validate(ClassifierConfig, spec["config"]).model_copy(update={"pixels": card.pixels})
    torch.set_num_threads(config.threads)
    device = torch.device(spec["device"])
    lake = Lake.open(spec["lake"], spec["phi"])
    manifest = lake.manifest(*spec["catalog"])
    if manifest is None:
        raise InputError("the catalog is gone from the lake", value=spec["catalog"])
    catalog, sources = load_catalog(lake, manifest), load_sources(lake, manifest)
    y = truth(catalog, card.labels)

    model = Classifier(card, config.seed)
    # A film without any label teaches nothing; brought weights learn nothing.
    labelled = ~np.isnan(y).all(axis=1) & (config.weights is None)
    fit_rows = np.flatnonzero((catalog.roles == "fit") & labelled)
    select_rows = np.flatnonzero(catalog.roles == "select")
    films: dict[str, UInt8[np.ndarray, "_ c h w"]] = {}
    mine: dict[str, Rows] = {"fit": fit_rows[:0], "select": select_rows[:0]}
    bad: list[tuple[int, str]] = []
    failure = None
    packed: Packed | None = None

    def load(rows: Sequence[int]) -> tuple[UInt8[np.ndarray, "_ c h w"], dict[int, str]]:
        if packed is not None:
            return load_packed_films(lake, packed, catalog.image_ids, rows, config.pixels, config.threads)

        def read(row: int) -> bytes:
            return read_source(spec["root"], sources[str(catalog.image_ids[row])])

        return load_films(read, rows, config.pixels, config.threads)

    try:
        pixels = None if spec["pixels"] is None else lake.manifest(*spec["pixels"])
        packed = find_packed(pixels, config.pixels, CatalogFilms(lake, manifest))
        films, mine, bad = _share({"fit": fit_rows, "select": select_rows}, load, world)
    except NeuroconceptsError as error:
        failure = error.fields()
    # A rank that raised alone would leave the others waiting for it at the next sum.
    shared = gather_json({"fit": len(mine["fit"]), "bad": bad, "failure": failure}, world, device)
    for one in shared:
        if one["failure"] is not None:
            raise from_fields(one["failure"])
    all_bad = sorted((row, cause) for one in shared for row, cause in one["bad"])
    quarantined = [
        Quarantined(image_id=str(catalog.image_ids[row]), stage="classifier", cause=cause) for row, cause in all_bad
    ]
    check_bad_fraction(quarantined, len(fit_rows) + len(select_rows), spec["max_bad_fraction"])

    kept = np.setdiff1d(select_rows, [row for row, _ in all_bad])
    own = Films(
        fit_x=films["fit"],
        fit_y=y[mine["fit"]],
        least=min(one["fit"] for one in shared),
        select_x=films["select"],
        select_at=np.searchsorted(kept, mine["select"]),
        select_y=y[kept],
    )
    meta = {
        "fit_images": sum(one["fit"] for one in shared),
        "select_rows": kept.tolist(),
        "quarantined": [one.model_dump() for one in quarantined],
        "profile": numeric_profile(dtype=config.dtype, device=device.type, libraries=(*card.libraries, "pillow"))
        | ({} if packed is None else packed.profile),
    }
    if resume is not None and resume.meta["profile"] != meta["profile"]:
        resume = None  # half of one arithmetic and half of another would be neither's bytes
    if spec["weights"] is not None:
        model.load_timm_state(load_safetensors(lake.read(Part(**spec["weights"]))))
        score_only(model.to(device), own, world, save, meta)
    else:
        fit(model.to(device), own, config, world, resume, save, meta)


def _contiguous(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def _tensors(brought: Brought, digest: str) -> dict[str, torch.Tensor]:
    """The tensors of brought weights.

    Raises:
        ConfigError: It is not one.
        DigestError: It changed since it was planned.
    """
    try:
        data = brought.file.read_bytes()
        if sha256(data) != digest:
            raise DigestError("the weights changed while they were read", where="classifier.weights")
        return load_safetensors(data)
    except (FileNotFoundError, PermissionError, SafetensorError) as error:
        raise ConfigError(
            "the classifier's weights are not a safetensors file",
            value=brought.file,
            where="classifier.weights",
            remedy="`neuroconcepts import-model` makes one of a .pth or .pt file",
        ) from error


def _score(spec: dict[str, Any]) -> State:
    """What :func:`loop` says of brought weights: nothing is trained, so it runs here and needs no cluster."""
    device = "cuda" if spec["device"] == "cuda" and torch.cuda.is_available() else "cpu"
    threads = torch.get_num_threads()
    states: list[State] = []
    try:
        loop({**spec, "device": device}, World(0, 1), None, lambda state, _: states.append(state))
    finally:
        torch.set_num_threads(threads)
    return states[-1]


def run(
    config: ClassifierConfig, have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig, root: str
) -> dict[str, Manifest]:
    """Make the classifier, unless it is there.

    Args:
        config: What it is.
        have: ``catalog``; of ``pixels``, what fits is read instead of films.
        lake: Where it goes.
        compute: Machines.
        root: The archive's root.

    Returns:
        ``{"classifier": manifest}``.
    """
    mine = plan(config, have)["classifier"]
    found = lake.find(mine)
    if found is not None:
        return {"classifier": found}
    catalog = load_catalog(lake, have["catalog"])
    pixels = have.get("pixels")
    brought = None if config.weights is None else open_brought(config.weights)
    if brought is None or brought.card is None:
        card = card_of(config, outputs(config, catalog), as_task(catalog.task))
    else:
        card = brought.card
    labels, task = card.labels, card.task
    # Built here once, so that a wrong backbone, size or file is an error before anything is started.
    model = Classifier(card, config.seed)
    weights = None
    if brought is not None:
        model.load_timm_state(_tensors(brought, mine.recipe.models["weights"]))
        weights = lake.put_part(mine, WEIGHTS, save_safetensors(_contiguous(model.timm_state())))
    spec = {
        "config": config.model_dump(mode="json"),
        "lake": lake.store.uri,
        "phi": lake.phi.uri,
        "catalog": [have["catalog"].kind, have["catalog"].recipe, have["catalog"].artifact],
        "pixels": None if pixels is None else [pixels.kind, pixels.recipe, pixels.artifact],
        "root": root,
        "card": card.model_dump(mode="json"),
        "device": compute.device,
        "weights": None if weights is None else weights.model_dump(),
        "max_bad_fraction": compute.max_bad_fraction,
    }
    fit_images = int((catalog.roles == "fit").sum())
    folder = lake.training
    if weights is not None:
        state = _score(spec)
    else:
        state = train(
            loop,
            spec,
            name=mine.artifact,
            folder=folder,
            compute=compute,
            threads=config.threads,
            label="classifier",
            total=config.epochs * max(1, fit_images // config.batch_size),
            workers=config.workers,
        )
        best = {
            name.removeprefix("best.model."): value
            for name, value in state.tensors.items()
            if name.startswith("best.model.")
        }
        weights = lake.put_part(mine, WEIGHTS, save_safetensors(_contiguous(best)))
    written = lake.put_part(mine, CARD, model.card.to_json())
    rows = np.array(state.meta["select_rows"], dtype=np.int64)
    facts = {
        "backbone": card.network,
        "labels": labels,
        "task": task,
        "d": model.d,
        "trained": config.weights is None,
        "fit_images": state.meta["fit_images"],
        "epochs": state.meta["epoch"],
        "best_epoch": state.meta["best_epoch"],
        "history": state.meta["history"],
        "select": evaluate(
            state.tensors["best.logits"].numpy(), truth(catalog, labels)[rows], catalog.groups[rows], labels, task
        ),
        "quarantined": len(state.meta["quarantined"]),
    }
    manifest = lake.commit_manifest(
        mine,
        "classifier",
        [weights, written],
        quarantined=[Quarantined(**bad) for bad in state.meta["quarantined"]],
        facts=json.loads(json.dumps(facts)),
        profile=state.meta["profile"],
    )
    forget(folder, mine.artifact)
    return {"classifier": manifest}
