"""Verbs that ask: search and explain."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval.answer import display_name
from neuroconcepts_ray.retrieval.query import Query, find_concept
from neuroconcepts_ray.retrieval.render import render, render_hits
from neuroconcepts_ray.retrieval.search import SearchService


def open_line(path: Path, overrides: list[str], space: str, new_only: bool) -> tuple[Pipeline, dict[str, Manifest]]:
    """A pipeline and its finished artifacts up to the index of a space.

    Raises:
        ConfigError: The pipeline has no such space.
        InputError: The index is not finished.
    """
    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    if space not in line.config.spaces:
        raise ConfigError("the pipeline has no such space", value=space, limit=", ".join(line.config.spaces))
    return line, line.artifacts(f"index.{space}")


def _pairs(items: list[str], option: str) -> list[tuple[str, str]]:
    pairs = []
    for item in items:
        key, eq, value = item.rpartition("=")
        if not eq or not key:
            raise ConfigError(f"{option} takes NAME=VALUE", value=item)
        pairs.append((key, value))
    return pairs


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{option} takes a number after =", value=text) from None


def _fires(items: list[str]) -> list[dict[str, Any]]:
    """``NAME`` or ``NAME>=ACTIVATION``."""
    clauses = []
    for item in items:
        concept, over, bound = item.partition(">=")
        clauses.append({"concept": concept, **({"at_least": _number(bound, item)} if over else {})})
    return clauses


def build_query(asked: Mapping[str, Any]) -> Query:
    """A query from the options of the command line.

    Args:
        asked: The options; ``boost`` and ``where`` as NAME=VALUE, clauses as NAME or NAME>=ACTIVATION.

    Raises:
        ConfigError: An option that is not of its form.
    """
    where: dict[str, list[str]] = {}
    for column, value in _pairs(asked["where"], "--where"):
        where.setdefault(column, []).append(value)
    fields = {name: asked[name] for name in ("like", "unlike", "any_of", "without", "text", "weighting", "exclude")}
    fields |= {name: asked[name] for name in ("top", "offset", "fold")}
    fields |= {name: _fires(asked[name]) for name in ("all_of", "none_of")}
    fields["boost"] = {name: _number(value, "--boost") for name, value in _pairs(asked["boost"], "--boost")}
    return validate(Query, fields | {"where": where})


def _title(query: Query, upload: Path | None, service: SearchService, space: str) -> str:
    if query.like or query.unlike or upload:
        named = [*query.like, *([upload.name] if upload else [])]
        return f"Films like {', '.join(named)}" + (f", unlike {', '.join(query.unlike)}" if query.unlike else "")
    if len(query.any_of) == 1 and not query.all_of and not query.text:
        (concept,) = query.any_of
        neurons = find_concept(concept, service.names, service.index.n)
        called = ", ".join(f"{j}, {display_name(j, service.names)}" for j in neurons)
        return f"Films in which {space} {called}, is strongest"
    return "Films by concepts"


def search(
    path: Path,
    overrides: list[str],
    *,
    asked: Mapping[str, Any],
    upload: Path | None,
    space: str,
    new_only: bool,
    as_json: bool,
) -> None:
    """Answer one query; see :class:`SearchService`.

    Raises:
        ConfigError: Options that are not of their form, or nothing to rank by.
        InputError: The index is not finished, or does not have what was asked about.
    """
    query = build_query(asked)
    line, have = open_line(path, overrides, space, new_only)
    service = SearchService.open(
        line.lake, have[f"index.{space}"], have.get(f"names.{space}"), line.config.index.cache_folder
    )
    answer = service.search(query)
    if as_json:
        print(json.dumps(answer.to_dict(), indent=1))  # noqa: T201 - the product
        return
    score = {"cosine": "cosine", "sum": "activation", "bm25": "BM25"}[answer.kind]
    Console().print(render_hits(answer.hits, _title(query, upload, service, space), score))


def explain(
    image: str,
    path: Path,
    overrides: list[str],
    *,
    label: str | None,
    space: str,
    top: int,
    new_only: bool,
    as_json: bool,
) -> None:
    """Explain one image; see :class:`Explainer`.

    Raises:
        InputError: The chain is not finished, or does not have the image or label.
    """
    # Here, because it needs torch: a search does without, and answers sooner.
    from neuroconcepts_ray.retrieval.assemble import Explainer

    line, have = open_line(path, overrides, space, new_only)
    explanation = Explainer.open(line.lake, have, space).explain(image, label=label, top=top)
    if as_json:
        print(json.dumps(explanation.to_dict(), indent=1))  # noqa: T201 - the product
        return
    Console().print(render(explanation))
