"""The phantoms of one seed and the chains over them: made once, kept, and the truth out of their reach.

    <work>/<seed>/<part>/archive, reports, pipeline.yaml, lake, phi     all that a run is told of
    <work>/<seed>/truth/<part>/                                        what it is not

The chain is the command line's, in a process of its own.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from neuroconcepts_ray import cli, pipeline
from neuroconcepts_ray.classifier.card import WEIGHTS
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.phantom.archive import write_archive
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.mentions import LABELS
from neuroconcepts_ray.phantom.scoring.factors import INVISIBLE, NO_FINDING, VISIBLE
from neuroconcepts_ray.phantom.twins import write_twins
from neuroconcepts_ray.pipeline import Pipeline

PATIENTS = 2400
SHARES = {"validate_share": 0.25, "test_share": 0.25}
"""More patients than the demo has, and more of them held out: a side or a margin is asked among few films."""

NETWORK = "network.safetensors"
"""A borrowed network, in the folder of the part that takes it."""

ABROAD = 120_000
"""Number of the first patient out of distribution: nobody who is in the archive."""


@dataclass(frozen=True)
class Part:
    """One archive of a seed.

    Args:
        name: Its folder.
        config: What differs from the phantom's defaults, with the number of patients in the main archive as 1.
        patients: Share of the main archive's patients.
        until: The verb that is run on it.
        network: The part whose classifier is taken, so that only what differs is measured; else one is trained.
    """

    name: str
    config: dict[str, Any]
    patients: float = 1.0
    until: str = "run"
    network: str = ""


PARTS = (
    Part("main", {"twins": 25}),
    Part("abroad", {"shortcuts": -0.8, "first": ABROAD}, patients=1 / 6, until="catalog"),
    Part("random", {"labels": "random"}, patients=1 / 3),
    Part("independent", {"reports": "independent"}, network="main"),
)
"""main: the exam. abroad: other patients, whose artefacts follow the absence of findings. random: labels drawn at
random. independent: reports of other studies, films and network of main."""


def phantom(part: Part, seed: int, patients: int) -> PhantomConfig:
    """The config of a part."""
    fields = {"seed": seed, "patients": max(1, round(patients * part.patients)), "processes": os.cpu_count() or 1}
    return validate(PhantomConfig, fields | SHARES | part.config)


def write(part: Part, work: Path, config: PhantomConfig) -> int:
    """Write what is missing of an archive; returns the number of patients drawn."""
    folder = work / part.name
    folder.mkdir(parents=True, exist_ok=True)
    drawn = write_archive(config, folder / "archive", folder / "reports", truth_root(part.name, work))
    if config.twins:
        write_twins(config, folder / "twins", truth_root(part.name, work))
    (folder / "hash.key").write_bytes(b"the phantom's patients need no secrets")
    (folder / "pipeline.yaml").write_text(pipeline_text(config.seed, part), encoding="utf-8")
    return drawn


def truth_root(name: str, work: Path) -> Path:
    """Where the truth of a part lies: beside all runs, in none of their folders."""
    return work / "truth" / name


def pipeline_text(seed: int, part: Part) -> str:
    """The demo's pipeline, with the labels that no film shows beside the others: they must be at chance."""
    demo = (Path(cli.__file__).parent / "demo.yaml").read_text(encoding="utf-8")
    plain = yaml.safe_load(demo.format(seed=seed))
    planted = {*VISIBLE, *INVISIBLE, NO_FINDING}
    plain["catalog"] |= {"name": f"phantom-{part.name}", "labels": [label for label in LABELS if label in planted]}
    plain["classifier"] |= {"weights": NETWORK} if part.network else {}
    return yaml.safe_dump(plain, sort_keys=False)


def borrow(part: Part, work: Path) -> None:
    """Copy the network that a part takes; its own lake has everything else."""
    if part.network:
        line = Pipeline(pipeline.load(work / part.network / "pipeline.yaml", []))
        weights = line.artifacts("classifier")["classifier"].part(WEIGHTS)
        (work / part.name / NETWORK).write_bytes(line.lake.read(weights))


def finished(part: Part, work: Path) -> bool:
    """Whether there is nothing left to run."""
    file = work / part.name / "pipeline.yaml"
    until = None if part.until == "run" else part.until
    return all(outcome.manifest is not None for outcome in Pipeline(pipeline.load(file, [])).walk(until=until))


def run(part: Part, work: Path) -> None:
    """Run the chain of a part as a user would; what it says goes to run.log.

    Raises:
        SystemExit: It failed; with the end of what it said.
    """
    folder = work / part.name
    command = [sys.executable, "-m", "neuroconcepts_ray", part.until, "-c", "pipeline.yaml"]
    with (folder / "run.log").open("ab") as log:
        done = subprocess.run(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        said = (folder / "run.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{said}\n{part.until} failed on the archive {part.name} (exit {done.returncode}): {folder}")


def contents(part: Part, work: Path) -> dict[str, str]:
    """Content digest of each artifact of a part."""
    outcomes = Pipeline(pipeline.load(work / part.name / "pipeline.yaml", [])).walk()
    return {outcome.name: outcome.manifest.content for outcome in outcomes if outcome.manifest is not None}
