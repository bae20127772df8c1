"""The demo: a phantom archive, the whole chain, and a score against the truth that only the score opens."""

import json
import os
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.cli.work import make, say
from neuroconcepts_ray.config import parse_set, validate
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.phantom.archive import write_archive
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.twins import write_twins
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.stages import TABLE


def _write(folder: Path, config: PhantomConfig) -> int:
    """Write the archive below ``folder``; returns how many patients were drawn now."""
    done = 0
    with track("phantom", config.patients, "patients") as advance:

        def progress(count: int, _: int) -> None:
            nonlocal done
            advance(count - done)
            done = count

        drawn = write_archive(config, folder / "archive", folder / "reports", folder / "truth", progress)
    if config.twins:
        with track("twins", config.twins, "pairs a factor") as advance:
            write_twins(config, folder / "twins", folder / "truth", advance)
    return drawn


def phantom(folder: Path, overrides: list[str]) -> None:
    """Write a phantom archive, its reports and its truth."""
    config = validate(PhantomConfig, parse_set(overrides))
    try:
        drawn = _write(folder, config)
    except (EnvironmentFault, BrokenPipeError):
        raise
    except OSError as error:
        raise EnvironmentFault(
            f"the phantom cannot be written: {error.strerror or type(error).__name__}",
            where=str(folder),
            remedy="Make room, or give a folder that this user may write; the same command continues",
        ) from error
    there = [name for name in ("archive", "reports", "truth", "twins") if (folder / name).is_dir()]
    say(f"{drawn} patients drawn, {config.patients - drawn} were there already. In {folder}: {', '.join(there)}")


def pipeline_file(folder: Path, seed: int) -> Path:
    """Write the demo's pipeline file, so that it can be read, changed and run again."""
    path = folder / "pipeline.yaml"
    if not path.exists():
        text = (Path(__file__).parent / "demo.yaml").read_text(encoding="utf-8").format(seed=seed)
        _replace(path, text.encode())
    # The archive is synthetic: a fixed key makes the demo's figures the same on every machine.
    _replace(folder / "hash.key", b"the phantom's patients need no secrets")
    return path


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)


def _summary(path: Path, contents: dict[str, str]) -> dict[str, Any] | None:
    """The summary of these very artifacts, if it is there."""
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return summary if summary.get("contents") == contents else None


def _number(value: float | None, digits: int = 3) -> str:
    return "not evaluable" if value is None else f"{value:.{digits}f}"


def _mean(values: dict[str, float | None]) -> str:
    kept = [value for value in values.values() if value is not None]
    return _number(sum(kept) / len(kept) if kept else None)


def table(summary: dict[str, Any]) -> Table:
    """The one table of the demo: each figure beside its control."""
    view = Table(title="What the chain found in the phantom, on patients that nothing was fitted on")
    for heading in ("figure", "value", "control", "what the control is"):
        view.add_column(heading, overflow="fold")
    counts, box, sae = summary["counts"], summary["black_box"], summary["sae"]
    recovery, names = summary["neurons"]["recovery"], summary["names"]
    view.add_row("films, patients", f"{counts['images']}, {counts['groups']}", "", "")
    low, high = box["macro_auroc_interval"]
    interval = f"({_number(low)}–{_number(high)})"
    linear = box["pixel_linear_macro_auroc"]
    view.add_row(
        "black box, macro AUROC (95 %)",
        f"{_number(box['macro_auroc'])} {interval}",
        _number(linear),
        "linear on pixels",
    )
    view.add_row(
        "SAE, FVU",
        _number(sae["fvu"], 4),
        _number(sae["pca_fvu"], 4),
        f"PCA, as many components as latents fire: {sae['l0']:.1f}",
    )
    view.add_row("SAE, dead latents", f"{sae['dead_fraction']:.1%} of {counts['latents']}", "", "")
    for space in ("latents", "units"):
        view.add_row(
            f"recovery of findings by {space}",
            _mean(recovery[space]),
            _mean(recovery["random"]),
            "random directions (a linear probe: 1)",
        )
    for space, figures in (("latents", names), ("units", names["units"])):
        view.add_row(
            f"names of {space}, right of given",
            f"{figures['right']} of {figures['given']}",
            f"{figures['when_shuffled']:.2%}",
            f"of {figures['neurons']} neurons named when reports are shuffled",
        )
    view.add_row(
        "explanation, largest error of the sum", f"{summary['explain']['max_error']:.1e}", "", "the network's own logit"
    )
    view.add_row("retrieval, recall at 20", _number(summary["retrieval"]["recall_at_20"]), "", "exhaustive search")
    view.add_row("seconds", f"{summary['seconds']['total']:.0f}", "", "")
    return view


def remarks(summary: dict[str, Any]) -> list[str]:
    """What a reader of the table must not overlook."""
    recovery, sae = summary["neurons"]["recovery"], summary["sae"]
    said = []
    for space in ("latents", "units"):
        shared = [f for f, value in recovery[space].items() if value is not None and recovery["random"][f] is not None]
        worse = [f for f in shared if recovery["random"][f] >= recovery[space][f]]
        if worse:
            said.append(
                f"Random directions recover at least as much as {space} for {len(worse)} of {len(shared)} findings."
            )
    if sae["fvu"] >= sae["pca_fvu"]:
        said.append("PCA with as many components leaves less unexplained than the SAE.")
    return said


def show(summary: dict[str, Any]) -> None:
    """Print the table and its remarks."""
    Console().print(table(summary))
    for remark in remarks(summary):
        say(remark)


def run(folder: Path, *, seed: int, patients: int | None) -> None:
    """Write the phantom, run the chain, score it; the second time only what is missing."""
    from neuroconcepts_ray.cli.demo_score import score

    start = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"seed": seed, "processes": os.cpu_count() or 1} | ({} if patients is None else {"patients": patients})
    drawn = _write(folder, validate(PhantomConfig, fields))
    seconds = {"phantom": time.monotonic() - start}
    outcomes = make(
        pipeline_file(folder, seed), [], tuple(stage.verb for stage in TABLE), dry_run=False, new_only=False
    )
    for outcome in outcomes:
        seconds[outcome.stage.verb] = outcome.seconds
    summary_file = folder / "summary.json"
    fingerprints = {o.name: o.manifest.content for o in outcomes if o.manifest}
    known = _summary(summary_file, fingerprints)
    if known is not None and not drawn:
        show(known)
        say(f"Nothing was left to do ({time.monotonic() - start:.1f} s). {summary_file}")
        return
    line = Pipeline(pipeline.load(folder / "pipeline.yaml", []))
    before = time.monotonic()
    say("Now the truth is opened, and the score taken; on a busy machine this takes minutes.")
    have = {o.name: o.manifest for o in outcomes if o.manifest}
    summary = score(line.lake, have, line.config.catalog.root, folder / "truth")
    seconds |= {"score": time.monotonic() - before, "total": time.monotonic() - start}
    summary |= {"seconds": {name: round(value, 2) for name, value in seconds.items()}, "contents": fingerprints}
    _replace(summary_file, json.dumps(summary, indent=1, allow_nan=False).encode())
    show(summary)
    image = next(iter(load_catalog(line.lake, have["catalog"]).image_ids.tolist()))
    say(f"Figures: {summary_file}. Now ask: neuroconcepts explain {image} -c {folder}/pipeline.yaml")
