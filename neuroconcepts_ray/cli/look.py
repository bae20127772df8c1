"""Verbs that look: what is finished, and what can be configured."""

import inspect
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli import mining
from neuroconcepts_ray.pipeline import Outcome, Pipeline

SHOWN = 20
"""Images that were set aside that people are shown; --json has them all."""


def _row(line: Pipeline, outcome: Outcome, done: Mapping[str, int]) -> dict[str, Any]:
    manifest = outcome.manifest
    receipts = 0
    if outcome.plan and not manifest:
        known = done.get(outcome.name)
        receipts = len(line.lake.done_shards(outcome.plan)) if known is None else known
    return {
        "stage": outcome.stage.verb,
        "artifact": outcome.name,
        "state": "finished" if manifest else "under way" if receipts else "to do",
        "images": manifest.images if manifest else None,
        "quarantined": len(manifest.quarantined) if manifest else None,
        "shards_done": receipts or None,
        "fingerprint": manifest.artifact if manifest else outcome.plan.artifact if outcome.plan else None,
        "content": manifest.content if manifest else None,
    }


def rows(line: Pipeline, outcomes: list[Outcome], done: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
    """The state of every artifact as plain data.

    Args:
        line: The pipeline.
        outcomes: Of a walk over it.
        done: Finished shards by artifact, as far as they are counted already; a list on S3 takes its time.
    """
    return [_row(line, outcome, done or {}) for outcome in outcomes]


def status(path: Path, overrides: list[str], *, new_only: bool, as_json: bool) -> None:
    """Print the state of every artifact, how far mining is, and the images that were set aside, by cause."""
    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    outcomes = line.walk()
    far = mining.progress(line, outcomes)
    states = rows(line, outcomes, {name: count for one in far for name, count in one.shards_done.items()})
    bad = sorted({(q.image_id, q.stage, q.cause) for o in outcomes if o.manifest for q in o.manifest.quarantined})
    if as_json:
        quarantined = [dict(zip(("image_id", "stage", "cause"), entry, strict=True)) for entry in bad]
        told = {"artifacts": states, "mining": [asdict(one) for one in far], "quarantined": quarantined}
        print(json.dumps(told, indent=1))  # noqa: T201 - the product
        return
    view = Table(box=None, pad_edge=False)
    headings = {"artifact": "artifact", "state": "state", "images": "images", "quarantined": "set aside"}
    headings |= {"shards_done": "shards", "fingerprint": "fingerprint"}
    for heading in headings.values():
        view.add_column(heading, no_wrap=heading != "set aside", overflow="fold")
    for row in states:
        shown = {key: "-" if row[key] is None else str(row[key]) for key in headings}
        view.add_row(*(shown | {"fingerprint": shown["fingerprint"][:12]}).values())
    console = Console()
    console.print(view)
    for said in (*mining.lines(far), *_aside(bad)):
        console.print(said, highlight=False, markup=False, soft_wrap=True)


def _aside(bad: list[tuple[str, str, str]]) -> list[str]:
    """Lines about images that were set aside: each of a few; of many the causes, and the first."""
    causes = Counter((stage, cause) for _, stage, cause in bad).most_common() if len(bad) > SHOWN else []
    told = [f"set aside by {stage}: {count:,} images: {cause}" for (stage, cause), count in causes]
    told += [f"set aside by {stage}: {image_id}: {cause}" for image_id, stage, cause in bad[:SHOWN]]
    return [*told, f"and {len(bad) - SHOWN:,} more; --json names all"] if causes else told


def _models(annotation: Any) -> list[type[BaseModel]]:
    return [
        kind for kind in (annotation, *get_args(annotation)) if inspect.isclass(kind) and issubclass(kind, BaseModel)
    ]


def fields(model: type[BaseModel], prefix: str = "") -> list[tuple[str, str, str]]:
    """Every key below a model: its dotted name, its default as JSON, its meaning."""
    rows: list[tuple[str, str, str]] = []
    for name, field in model.model_fields.items():
        nested = _models(field.annotation)
        key = f"{prefix}{name}"
        if nested:
            is_mapping = nested[0] is not field.annotation and "dict" in str(field.annotation)
            rows += fields(nested[0], f"{key}.<name>." if is_mapping else f"{key}.")
            continue
        default = "(required)" if field.is_required() else json.dumps(field.get_default(call_default_factory=True))
        rows.append((key, default, " ".join((field.description or "").split())))
    return rows


def config(model: type[BaseModel]) -> None:
    """Print every key of a model."""
    view = Table(box=None, pad_edge=False)
    for heading in ("key", "default", "meaning"):
        view.add_column(heading, overflow="fold", no_wrap=heading == "key")
    for row in fields(model):
        view.add_row(*map(Text, row))  # brackets are no markup
    Console().print(view)
