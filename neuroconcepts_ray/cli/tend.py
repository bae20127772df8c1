"""Verbs that look after an index in use (remove, add, compact, stats), and the neighbours of a whole role."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from neuroconcepts_ray.cli.ask import open_line
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.snapshot import read_snapshot

WHOLE = ("self", "study", "group")


def _base(path: Path, overrides: list[str], space: str, new_only: bool) -> tuple[Pipeline, Manifest, Path]:
    line, have = open_line(path, overrides, space, new_only)
    return line, have[f"index.{space}"], line.config.index.cache_folder


def _say(line: Pipeline, base: Manifest, did: str) -> None:
    state = changes.published(line.lake, base)
    snapshot = read_snapshot(line.lake, state.manifest)
    gone = len(snapshot.removed)
    Console().print(f"{did}: {snapshot.images} images are indexed, {gone} are removed (version {state.version})")


def remove(path: Path, overrides: list[str], images: list[str], *, whole: str, space: str, new_only: bool) -> None:
    """Take images out of the index.

    Raises:
        ConfigError: ``whole`` is none of self, study and group.
        InputError: The index does not have an image; nothing is removed then.
    """
    if whole not in WHOLE:
        raise ConfigError("--whole takes one of three words", value=whole, limit=", ".join(WHOLE))
    line, base, cache = _base(path, overrides, space, new_only)
    wanted = set(images)
    if whole != "self":
        index = changes.published(line.lake, base).open(line.lake, cache)
        owners = {getattr(example, whole) for example in index.examples(images)}
        for segment in index.segments:
            for owner in owners:
                wanted |= {segment.images.ids[row].as_py() for row in segment.images.rows(whole, owner).tolist()}
    with leases.hold(line.lake.store, "index remove"):
        changes.remove(line.lake, base, cache, wanted)
    _say(line, base, "Removed")


def add(path: Path, overrides: list[str], images: list[str], *, space: str, new_only: bool) -> None:
    """Put removed images back.

    Raises:
        InputError: An image was never there, or a compaction has dropped it.
    """
    line, base, cache = _base(path, overrides, space, new_only)
    with leases.hold(line.lake.store, "index add"):
        changes.add(line.lake, base, cache, images)
    _say(line, base, "Added")


def compact(path: Path, overrides: list[str], *, space: str, new_only: bool) -> None:
    """Write the index as one segment."""
    line, base, cache = _base(path, overrides, space, new_only)
    with leases.hold(line.lake.store, "index compact"):
        changes.compact(line.lake, base, cache)
    _say(line, base, "Compacted")


def stats(path: Path, overrides: list[str], *, space: str, new_only: bool, as_json: bool) -> None:
    """Say what the index holds."""
    line, base, cache = _base(path, overrides, space, new_only)
    state = changes.published(line.lake, base)
    told = changes.stats(state.open(line.lake, cache), state)
    if as_json:
        print(json.dumps(told, indent=1))  # noqa: T201 - the product
        return
    table = Table(title=f"Index of {space}", title_justify="left", show_header=False)
    spread = ", ".join(f"{name} {count}" for name, count in told["posting_length"].items())
    segments = ", ".join(f"{one['images']} images ({one['removed']} removed)" for one in told["segments"])
    for key, value in (
        ("images", told["images"]),
        ("neurons", f"{told['neurons']} ({told['dead_neurons']} fire nowhere)"),
        ("neurons an image", f"{told['l0']:.1f}"),
        ("images a neuron", spread),
        ("segments", segments),
        ("removed images", told["tombstones"]),
        ("size", f"{told['bytes'] / 1e6:.1f} MB"),
        ("version", told["version"]),
    ):
        table.add_row(key, str(value))
    Console().print(table)


def neighbours(path: Path, overrides: list[str], *, role: str, top: int, space: str, new_only: bool) -> None:
    """Write the nearest images of every image of a role.

    Raises:
        InputError: No image has this role.
    """
    from neuroconcepts_ray.retrieval import job

    line, base, _ = _base(path, overrides, space, new_only)
    query = validate(Query, {"top": top})
    with leases.hold(line.lake.store, "neighbours"):
        made = job.neighbours(line.config.index, base, role, query, line.lake, line.config.compute)
    shown = [str(line.lake.store.local_path(part.key) or part.key) for part in made.parts]
    Console().print(f"Neighbours of {made.images} images, {top} each, as Parquet:", *shown, sep="\n", soft_wrap=True)
