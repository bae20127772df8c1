"""``fit --sweep``: many SAEs over one archive, their curve, and what to be warned of."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.work import say
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.sae.config import CHOICE_ROLE, SAEConfig, plan, resolved
from neuroconcepts_ray.sae.curve import grid, warnings
from neuroconcepts_ray.sae.plot import curve

FIGURES = ("fvu", "l0", "dead_fraction", "pca_fvu", "pca_bits_fvu", "random_fvu", "mean_fvu")
HEADINGS = ("FVU", "L0", "dead", "PCA", "PCA,\nequal bits", "random", "mean")

CAPTION = "FVU on role select; PCA and random dictionary at equal L0; mean: that of the training images"


def _fitted(configs: list[SAEConfig], have: Mapping[str, Manifest], line: Pipeline, workers: int) -> list[Manifest]:
    from neuroconcepts_ray.sae.job import sweep

    return sweep(configs, have, line.lake, line.config.compute, workers=workers)


def _stability(told: Sequence[Mapping[str, str]], saes: Sequence[Manifest], line: Pipeline) -> list[dict[str, Any]]:
    """Every pair of members that differ in nothing but the seed."""
    from neuroconcepts_ray.sae.model import load_sae
    from neuroconcepts_ray.sae.stability import stability

    found = []
    for (a, one), (b, other) in itertools.combinations(zip(told, saes, strict=True), 2):
        rest = {name: value for name, value in a.items() if name != "seed"}
        # Of one brought along, or a seed named twice, both are the same SAE: no figure of stability.
        if one.artifact == other.artifact:
            continue
        if "seed" in a and rest == {name: value for name, value in b.items() if name != "seed"}:
            rows = [load_sae(line.lake, m).W_dec.cpu().numpy() for m in (one, other)]
            found.append({"members": rest, "seeds": [a["seed"], b["seed"]], **stability(*rows).facts()})
    return found


def _events(folder: Path, name: str, sae: Manifest, line: Pipeline) -> None:
    """TensorBoard events of a member, where its artifact has a history."""
    if not any(part.name == "history.json" for part in sae.parts):  # one brought along was not trained here
        return
    from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

    history = json.loads(line.lake.read(sae.part("history.json")))
    place = folder / "events" / name.replace("/", "_")
    for older in place.glob("events.out.tfevents.*"):  # TensorBoard would show both in one
        older.unlink()
    with SummaryWriter(str(place)) as writer:
        for key in ("loss", "l0", "dead"):
            for step, value in zip(history["steps"], history[key], strict=True):
                writer.add_scalar(key, value, step)


def _set(values: Mapping[str, str]) -> str:
    return "".join(f", {name}={value}" for name, value in values.items())


def check_folder(out: Path) -> None:
    """Refuse, before anything is trained, a folder that cannot be one.

    Raises:
        ConfigError: It, or a part of the path to it, is a file.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists() or path.is_symlink())
    if not there.is_dir():
        raise ConfigError("a file is where the folder of the sweep would be", value=there, where="--out")


def run(
    path: Path, overrides: list[str], axes: list[str], out: Path, *, workers: int, dry_run: bool, new_only: bool
) -> None:
    """Fit every member, and write ``curve.json``, ``curve.svg`` and TensorBoard events.

    Raises:
        ConfigError: An axis that is none, a member that cannot be, or a file where the folder would be.
        InputError: The activations are not mined.
    """
    check_folder(out)  # known before hours of training, not after
    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    members = grid(line.config.sae, axes)
    told, configs = [one for one, _ in members], [resolved(config) for _, config in members]
    names = [",".join(f"{key}={value}" for key, value in one.items()) for one in told]
    outcomes = line.walk(until="mine")
    for o in outcomes:
        if o.manifest is None and not o.stage.optional:
            raise InputError(f"fit needs {o.name}, which is not finished", remedy=f"Run `neuroconcepts {o.stage.verb}`")
    have = {o.name: o.manifest for o in outcomes if o.manifest is not None}
    plans = [plan(config, have)["sae"] for config in configs]
    if dry_run:
        for name, planned in zip(names, plans, strict=True):
            done = line.lake.find(planned) is not None
            say(f"{name}: {'finished already' if done else 'to do'}")
        return
    with leases.hold(line.lake.store, "fit"):
        saes = _fitted(configs, have, line, workers)
    rows = [
        {"member": name, "set": one, "artifact": sae.artifact, **sae.facts[CHOICE_ROLE]}
        for name, one, sae in zip(names, told, saes, strict=True)
    ]
    for row in rows:
        row["warnings"] = warnings(row)
    stable = _stability(told, saes, line)
    out.mkdir(parents=True, exist_ok=True)
    (out / "curve.json").write_text(json.dumps({"role": CHOICE_ROLE, "members": rows, "stability": stable}, indent=2))
    (out / "curve.svg").write_text(curve(rows, f"{len(rows)} SAEs over {line.config.sae.tap}"))
    for name, sae in zip(names, saes, strict=True):
        _events(out, name, sae, line)
    view = Table(box=None, pad_edge=False, caption=CAPTION)
    for heading in ("member", *HEADINGS):
        view.add_column(heading, justify="left" if heading == "member" else "right", overflow="fold")
    for row in rows:
        figures = [row.get(key) for key in FIGURES]
        view.add_row(row["member"].replace(",", ", "), *("-" if value is None else f"{value:.3f}" for value in figures))
    Console().print(view)
    for pair in stable:
        say(
            f"Seeds {' and '.join(pair['seeds'])}{_set(pair['members'])}: mean |cos| of matched latents "
            f"{pair['pw_mcc']:.2f} (two random dictionaries {pair['random_pw_mcc']:.2f}), "
            f"{pair['same']:.0%} at least .9"
        )
    for row in rows:
        for warning in row["warnings"]:
            say(f"{row['member']}: {warning}.")
    say(f"Written: {out / 'curve.json'}, {out / 'curve.svg'}")
