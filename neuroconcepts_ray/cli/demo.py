"""The demo: a phantom archive, the whole chain, and a score against the truth that only the score opens."""

from pathlib import Path
from typing import Any

import yaml

from neuroconcepts_ray.cli.work import say
from neuroconcepts_ray.config import parse_set, validate
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.phantom.archive import write_archive
from neuroconcepts_ray.phantom.config import PhantomConfig


def _write(folder: Path, config: PhantomConfig) -> int:
    """Write the archive below ``folder``; returns how many patients were drawn now."""
    done = 0
    with track("phantom", config.patients, "patients") as advance:

        def progress(count: int, _: int) -> None:
            nonlocal done
            advance(count - done)
            done = count

        return write_archive(config, folder / "archive", folder / "reports", folder / "truth", progress)


def phantom(folder: Path, overrides: list[str]) -> None:
    """Write a phantom archive, its reports and its truth."""
    config = validate(PhantomConfig, parse_set(overrides))
    drawn = _write(folder, config)
    say(f"{drawn} patients drawn, {config.patients - drawn} were there already: {folder}/archive, reports, truth")
