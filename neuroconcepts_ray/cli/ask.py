"""Verbs that ask: search and explain."""

import json
from pathlib import Path

from rich.console import Console

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval.answer import display_name
from neuroconcepts_ray.retrieval.render import render, render_hits
from neuroconcepts_ray.retrieval.search import SearchService


def _open(path: Path, overrides: list[str], space: str, new_only: bool) -> tuple[Pipeline, dict[str, Manifest]]:
    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    if space not in line.config.spaces:
        raise ConfigError("the pipeline has no such space", value=space, limit=", ".join(line.config.spaces))
    return line, line.artifacts(f"index.{space}")


def search(
    path: Path,
    overrides: list[str],
    *,
    like: str | None,
    neuron: int | None,
    space: str,
    top: int,
    view: str | None,
    new_only: bool,
    as_json: bool,
) -> None:
    """Answer one query; see :class:`SearchService`.

    Raises:
        ConfigError: Not exactly one of ``like`` and ``neuron``.
        InputError: The index is not finished, or does not have what was asked about.
    """
    if (like is None) == (neuron is None):
        raise ConfigError("search takes one of --like IMAGE_ID and --neuron J")
    line, have = _open(path, overrides, space, new_only)
    service = SearchService.open(line.lake, have[f"index.{space}"], have.get(f"names.{space}"))
    if like is not None:
        hits = service.like(like, top=top, view=view)
        title, score = f"Films like {like}", "cosine"
    else:
        hits = service.neuron(neuron or 0, top=top, view=view)
        title, score = (
            f"Films in which {space} {neuron}, {display_name(neuron or 0, service.names)}, is strongest",
            "activation",
        )
    if as_json:
        print(json.dumps([hit.to_dict() for hit in hits], indent=1))  # noqa: T201 - the product
        return
    Console().print(render_hits(hits, title, score))


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

    line, have = _open(path, overrides, space, new_only)
    explanation = Explainer.open(line.lake, have, space).explain(image, label=label, top=top)
    if as_json:
        print(json.dumps(explanation.to_dict(), indent=1))  # noqa: T201 - the product
        return
    Console().print(render(explanation))
