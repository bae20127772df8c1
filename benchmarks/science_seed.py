"""One seed from nothing to its figures; whatever is there already is not done again."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import science_archives as archives
from benchmarks.science_archives import PARTS, Part, truth_root
from benchmarks.science_opened import Opened, opened
from benchmarks.science_score import asked, black_box, chance, names, readers, recovered
from benchmarks.science_twins import abroad, toggled
from neuroconcepts_ray.phantom import scoring
from neuroconcepts_ray.phantom.scoring.truth import Truth, load_truth, load_twins
from neuroconcepts_ray.phantom.world import draw_world
from neuroconcepts_ray.stats import MIN_EVALUABLE

Done = Callable[[str, float], None]
"""Called with what was done, and what it costs on an idle machine."""

COST = {"main": 260.0, "abroad": 30.0, "random": 120.0, "independent": 120.0, "score": 60.0}
"""Seconds of each step on an idle machine of two cores: for the estimate of what is left, nothing else."""


def selected(only: Sequence[str]) -> list[Part]:
    """The parts that are wanted; the exam itself always."""
    return [part for part in PARTS if not only or part.name in only or part.name == "main"]


def prepare(seed: int, work: Path, patients: int, only: Sequence[str], done: Done) -> None:
    """Write the archives and run the chains."""
    for part in selected(only):
        began = time.monotonic()
        done(f"seed {seed}, {part.name}: archive, then {part.until} (its log: {work / part.name / 'run.log'})", 0.0)
        drawn = archives.write(part, work, archives.phantom(part, seed, patients))
        archives.borrow(part, work)
        todo = not archives.finished(part, work)
        if todo:
            archives.run(part, work)
        did = f"{drawn} patients drawn, {part.until}" if drawn else part.until if todo else "was finished"
        done(f"seed {seed}, {part.name}: {did}, {time.monotonic() - began:.0f} s", COST[part.name])


def score(seed: int, work: Path, only: Sequence[str], least: int = MIN_EVALUABLE) -> dict[str, Any]:
    """The figures of a finished seed; read from figures.json where neither artifacts nor scoring have changed."""
    state = {part.name: archives.contents(part, work) for part in selected(only)} | {"code": _code(), "least": least}
    path = work / "figures.json"
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if known["state"] == state:
            return known
    figures = {"seed": seed, "state": state, **_figures(seed, work, [part.name for part in selected(only)], least)}
    write_json(path, figures)
    return figures


def _figures(seed: int, work: Path, parts: Sequence[str], least: int) -> dict[str, Any]:
    run, truth = opened(work / "main" / "pipeline.yaml"), load_truth(truth_root("main", work))
    figures = main(run, truth, seed, work / "main" / "twins", truth_root("main", work), least)
    if "abroad" in parts:
        file, ties = work / "abroad" / "pipeline.yaml", draw_world(seed).ties
        figures["abroad"] = abroad(run, truth, file, load_truth(truth_root("abroad", work)), ties, least)
    if "random" in parts:
        null = opened(work / "random" / "pipeline.yaml")
        figures["random labels"] = chance(null, readers(null), least)
    if "independent" in parts:
        null, told = opened(work / "independent" / "pipeline.yaml"), load_truth(truth_root("independent", work))
        figures["independent reports"] = {
            "names": names(null, told),
            "mean_share": recovered(asked(null, told, least))["mean_share"],
        }
    return figures


def main(run: Opened, truth: Truth, seed: int, twins: Path, truth_folder: Path, least: int) -> dict[str, Any]:
    """The figures of the exam itself."""
    found = asked(run, truth, least)
    facts = run.have["catalog"].facts
    return {
        "counts": {key: facts[key] for key in ("images", "studies", "groups", "roles")}
        | {"latents": run.have["codes.latents"].facts["n"], "units": run.x.shape[1]},
        "black_box": black_box(run, readers(run), truth, least),
        "recovery": recovered(found),
        "names": names(run, truth),
        "twins": toggled(run, found, load_twins(truth_folder), twins, draw_world(seed).ties),
    }


def _code() -> str:
    """Digest of all that scores."""
    files = [*Path(scoring.__file__).parent.glob("*.py"), *Path(__file__).parent.glob("science*.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


def write_json(path: Path, plain: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(plain, indent=1, allow_nan=False), encoding="utf-8")
    part.replace(path)
