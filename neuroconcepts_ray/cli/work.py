"""Verbs that do work: walk the table, tell what was found and what was made."""

import sys
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.catalog.growth import growth
from neuroconcepts_ray.catalog.tombstones import check_finished
from neuroconcepts_ray.cli import counts
from neuroconcepts_ray.distributed.progress import event
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.pipeline import Outcome, Pipeline
from neuroconcepts_ray.retrieval import faiss_guard
from neuroconcepts_ray.sae.config import CHOICE_ROLE
from neuroconcepts_ray.sae.curve import lines
from neuroconcepts_ray.stages import TABLE

_WORDS = {
    "found": "finished",
    "made": "made",
    "frozen": "kept as it was (--new-only)",
    "missing": "to do",
    "unknown": "to do, once what it needs is there",
}


def say(text: str) -> None:
    """One line for people, on standard output."""
    Console(soft_wrap=True, highlight=False, markup=False).print(text)


def _tell(outcome: Outcome) -> None:
    if sys.stderr.isatty():
        Console(stderr=True, highlight=False).print(f"{outcome.name:>28}  {_WORDS[outcome.state]}")
    else:
        event("stage", artifact=outcome.name, state=outcome.state, seconds=round(outcome.seconds, 2))


def table(outcomes: list[Outcome]) -> Table:
    """A table of outcomes: artifact, state, images, set aside, fingerprint."""
    view = Table(box=None, pad_edge=False)
    for heading in ("stage", "artifact", "state", "images", "set aside", "fingerprint"):
        justify: Literal["left", "right"] = "right" if heading in ("images", "set aside") else "left"
        # Names of taps differ in their ends, and a fingerprint that is cut is none.
        view.add_column(heading, justify=justify, no_wrap=heading in ("artifact", "fingerprint"))
    for o in outcomes:
        manifest = o.manifest
        name = manifest.artifact if manifest else o.plan.artifact if o.plan else "-"
        view.add_row(
            o.stage.verb,
            o.name,
            _WORDS[o.state],
            str(manifest.images) if manifest and manifest.images is not None else "-",
            str(len(manifest.quarantined)) if manifest else "-",
            name[:12],
        )
    return view


def warn(outcomes: list[Outcome]) -> None:
    """Say what the held-out figures of an SAE warn of, each time that it is fitted or found."""
    for o in outcomes:
        if o.name == "sae" and o.manifest is not None:
            for line in lines("The SAE", o.manifest.facts[CHOICE_ROLE]):
                say(line)


def make(path: Path, overrides: list[str], verbs: tuple[str, ...], *, dry_run: bool, new_only: bool) -> list[Outcome]:
    """Make the artifacts of some verbs; say so where there is nothing to do.

    Raises:
        InputError: A stage's inputs are not finished, and its verb is not among ``verbs``.
        EnvironmentFault: No FAISS, or more than one, though an index is to be made.
    """
    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    if "index" in verbs:
        faiss_guard.check()  # before hours of mining, not after
    check_finished(line.lake)
    last = verbs[-1]
    if dry_run:
        outcomes = line.walk(until=last)
        Console().print(table(outcomes))
        return outcomes
    outcomes = []
    order = [stage.verb for stage in TABLE]
    before = order[order.index(verbs[0]) - 1] if order.index(verbs[0]) else None
    if before is not None:
        for o in line.walk(until=before):
            if o.state in ("missing", "unknown") and not o.stage.optional:
                raise InputError(
                    f"{verbs[0]} needs {o.name}, which is not finished",
                    remedy=f"Run `neuroconcepts {o.stage.verb}` with the same config first, or `run` for all",
                )
    with leases.hold(line.lake.store, "run" if len(verbs) > 1 else last):
        old = line.walk(until="catalog")[0].manifest if new_only else None
        outcomes = line.walk(make=verbs, until=last, tell=_tell)
    Console().print(table(outcomes))
    if "fit" in verbs:
        warn(outcomes)
    if old is not None and outcomes[0].manifest is not None:
        say(growth(line.lake, old, outcomes[0].manifest).sentence)
    if verbs == ("catalog",) and outcomes[0].manifest is not None:
        Console().print(counts.render(outcomes[0].manifest.facts))
    if all(o.state in ("found", "frozen") for o in outcomes if o.stage.verb in verbs):
        say("Nothing to do: everything is finished already.")
    return outcomes
