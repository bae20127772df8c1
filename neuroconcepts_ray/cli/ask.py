"""Verbs that ask: search and explain."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval.answer import Answer, display_name
from neuroconcepts_ray.retrieval.query import Query, find_concept
from neuroconcepts_ray.retrieval.render import render, render_hits
from neuroconcepts_ray.retrieval.search import SearchService

if TYPE_CHECKING:
    from neuroconcepts_ray.retrieval.upload import Uploaded


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


def _condition(item: str) -> tuple[str, str]:
    """``NAME=VALUE``, or a bound: ``NAME>60``, ``NAME<=75``."""
    match = re.fullmatch(r"([^<>=]+)((?:>=|<=|>|<)\s*[-+.\d]+)", item)
    return (match[1], match[2]) if match else _pairs([item], "--where")[0]


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
        asked: The options; ``boost`` and ``where`` as NAME=VALUE, ``where`` also as NAME>NUMBER and the like, clauses
            as NAME or NAME>=ACTIVATION.

    Raises:
        ConfigError: An option that is not of its form.
    """
    where: dict[str, list[str]] = {}
    for column, value in map(_condition, asked["where"]):
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
    maps: Path | None,
    dense: bool,
    space: str,
    new_only: bool,
    as_json: bool,
) -> None:
    """Answer one query; see :class:`SearchService`.

    Raises:
        ConfigError: Options that are not of their form, or nothing to rank by.
        InputError: The index is not finished, or does not have what was asked about, or the upload will never decode.
    """
    query = build_query(asked)
    if maps is not None and not query.like:
        raise ConfigError("--maps shows what hits share with a film of the archive", remedy="Give it with --like")
    line, have = open_line(path, overrides, space, new_only)
    service = SearchService.open(
        line.lake, have[f"index.{space}"], have.get(f"names.{space}"), line.config.index.cache_folder, dense=dense
    )
    uploaded = None if upload is None else _encode(line, have, space, upload)
    answer = service.search(query, [] if uploaded is None else [uploaded.example])
    plain = answer.to_dict() | ({} if uploaded is None else {"uploaded": uploaded.to_dict()})
    if maps is not None:
        plain["maps"] = _write_maps(line, have, space, query.like[0], answer, maps)
    if as_json:
        print(json.dumps(plain, indent=1))  # noqa: T201 - the product
        return
    score = {"cosine": "cosine", "sum": "activation", "bm25": "BM25"}[answer.kind]
    console = Console()
    if uploaded is not None and uploaded.far:
        console.print(
            f"This file lies far from the films that the classifier was fitted on (distance {uploaded.distance:.1f}, "
            f"limit {uploaded.threshold:.1f}): neither its prediction nor its neighbours may mean anything.",
            style="bold",
        )
    console.print(render_hits(answer.hits, _title(query, upload, service, space), score))
    if maps is not None:
        console.print(f"{len(plain['maps'])} pairs of maps are in {maps}", soft_wrap=True)


def _encode(line: Pipeline, have: Mapping[str, Manifest], space: str, upload: Path) -> "Uploaded":
    # Here, because it needs torch: a search by what the index has does without, and answers sooner.
    from neuroconcepts_ray.retrieval.upload import Uploader

    return Uploader.open(line.lake, have, space).encode(upload.read_bytes())


def _write_maps(
    line: Pipeline, have: Mapping[str, Manifest], space: str, image_id: str, answer: Answer, folder: Path
) -> list[dict[str, Any]]:
    """Maps of the concept that each hit shares most with the film asked about."""
    from neuroconcepts_ray.retrieval.maps import Pair, write_maps

    pairs = [Pair(hit.shared[0].neuron, image_id, hit.image_id) for hit in answer.hits if hit.shared]
    return write_maps(line.lake, have, line.config.catalog.root, space, pairs, folder)


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
