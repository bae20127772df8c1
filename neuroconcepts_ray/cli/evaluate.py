"""The verb evaluate: how good retrieval is, beside what needs no codes at all."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval.evaluate import METRICS, Figure
from neuroconcepts_ray.retrieval.quality import CODES, CONTROLS, measure


def evaluate(
    path: Path,
    overrides: list[str],
    *,
    space: str,
    queries: int,
    query_roles: list[str],
    gallery_roles: list[str],
    new_only: bool,
    as_json: bool,
) -> None:
    """Measure retrieval in a space and print it; see :func:`measure`.

    Raises:
        ConfigError: No such space, or a role that the classifier has seen.
        InputError: The index is not finished.
    """
    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    if space not in line.config.spaces:
        raise ConfigError("the pipeline has no such space", value=space, limit=", ".join(line.config.spaces))
    have = line.artifacts(f"index.{space}")
    found = measure(
        line.lake,
        have,
        space,
        query_roles=query_roles,
        gallery_roles=gallery_roles,
        queries=queries,
        cache=line.config.index.cache_folder,
    )
    if as_json:
        print(json.dumps(found, indent=1, allow_nan=False))  # noqa: T201 - the product
        return
    Console().print(render(found))


def _number(one: Figure, digits: int = 3) -> str:
    if one["value"] is None:
        return "–"
    return f"{one['value']:.{digits}f} ({one['low']:.{digits}f}–{one['high']:.{digits}f})"


def render(found: dict[str, Any]) -> Group:
    """The result of :func:`measure` as tables of rich, and what must not be overlooked."""
    asked, searched, roles = found["queries"], found["gallery"], found["roles"]
    head = Table(title=f"Retrieval in {found['space']}: mean and 95 % patient-bootstrap interval", title_justify="left")
    for name in ("ranked by", *METRICS, "n"):
        head.add_column(name, overflow="fold")  # a narrow console breaks lines: an interval is never cut
    for system in (CODES, *CONTROLS):
        figures = found["systems"][system]
        words = f"{system} ({', '.join(found['metadata'])})" if system == "metadata" else system
        head.add_row(words, *(_number(figures[metric]) for metric in METRICS), str(figures["map"]["n"]))
    labels = Table(title="P@20 by label", title_justify="left")
    shown = (CODES, "chance", "dense", "dense, standardised")
    for name in ("label", "queries", "in gallery", *shown):
        labels.add_column(name, overflow="fold")
    for label, row in found["labels"].items():
        figures_ = [row["why"], "", "", ""] if "why" in row else [_number(row[system]) for system in shown]
        labels.add_row(Text(label), str(row["queries"]), str(row["gallery"]), *figures_)
    latency = found["latency"]
    lines = [
        f"{asked['images']} queries of {asked['groups']} patients ({', '.join(roles['queries'])}), "
        f"of which {asked['without_positive']} without a finding have nothing to find; {searched['images']} films of "
        f"{searched['groups']} patients searched ({', '.join(roles['gallery'])}), never the query's own patient",
        f"recall at 20 of the index against exhaustive search {_number(found['recall@20'], 4)}; "
        f"first 20 shared with the dense embedding {_number(found['overlap@20']['dense'])}, "
        f"standardised {_number(found['overlap@20']['dense, standardised'])}",
        f"latency p50 {latency['p50_ms']:.2f} ms, p95 {latency['p95_ms']:.2f} ms; " + _histogram(latency),
        *found["remarks"],
    ]
    return Group(head, labels, *(Text(line) for line in lines))


def _histogram(latency: dict[str, Any]) -> str:
    bins = zip(latency["bins_ms"], latency["bins_ms"][1:], latency["counts"], strict=False)
    return ", ".join(f"{low:g}–{high:g} ms: {count}" for low, high, count in bins if count)
