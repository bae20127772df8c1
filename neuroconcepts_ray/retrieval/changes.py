"""Changes to an index that is in use: remove, add again, compact; each a new manifest, published by moving a ref.

What was removed stays removed when the archive grows: a new base starts from the codes again, and takes over the
tombstones of the state before it. A writer that lost a race for the ref makes its change anew on the winner's state.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.recipe import Plan, Recipe, digest
from neuroconcepts_ray.retrieval.index import Index, unknown_image
from neuroconcepts_ray.retrieval.ranking import Statistics
from neuroconcepts_ray.retrieval.segment import Segment
from neuroconcepts_ray.retrieval.snapshot import (
    Draft,
    Snapshot,
    bury,
    commit_snapshot,
    open_index,
    read_snapshot,
    segment_parts,
)


@dataclass(frozen=True)
class State:
    """The newest state of an index.

    Attributes:
        base: What the `index` stage made.
        manifest: The newest manifest over it; the base itself where nothing was changed.
        gone: Images that an older base's state has removed, and this one must not show.
        version: Version of the ref, 0 before the first.
    """

    base: Manifest
    manifest: Manifest
    gone: tuple[str, ...]
    version: int

    def open(self, lake: Lake, cache: Path, only: Sequence[str] | None = None, held: Sequence[Segment] = ()) -> Index:
        """Open it; see :func:`open_index`."""
        return open_index(lake, self.manifest, cache, only=only, gone=self.gone, held=held)


def ref_of(base: Manifest) -> str:
    """The ref of all states of an index, whatever catalog its bases are over."""
    return f"index-{base.facts['codes']}"


def published(lake: Lake, base: Manifest, number: int | None = None) -> State:
    """The newest state of an index, or an older one.

    Args:
        lake: The lake.
        base: What the `index` stage made.
        number: Version of the ref; None for the newest, 0 for the one before the first.
    """
    if number is None:
        head = refs.head(lake.store, ref_of(base)) if "codes" in base.facts else None
    else:
        head = (number, refs.at(lake.store, ref_of(base), number)) if number else None
    if head is None:
        return State(base, base, (), 0)
    version, ref = head
    newest = lake.manifest(ref.kind, ref.recipe, ref.artifact)
    if newest is None:
        if number is not None:
            raise InputError(
                "this version of the index is gone; it held what was erased since, or was cleared away",
                value=number,
                remedy="Ask the newest version",
            )
        raise InputError("the published state of the index is gone", value=ref.artifact, remedy="Run `index` again")
    if base.artifact in (newest.artifact, newest.facts.get("base")):
        return State(base, newest, (), version)
    return State(base, base, tuple(sorted(read_snapshot(lake, newest).removed)), version)


def was_published(lake: Lake, base: Manifest) -> bool:
    """Whether the ref has ever pointed to a base or to a state over it; what came later is not set back to it.

    Args:
        lake: The lake.
        base: What the `index` stage made.
    """
    if "codes" not in base.facts:
        return True  # of an older format: it has no ref, and opening it says so
    head = refs.head(lake.store, ref_of(base))
    for number in range(head[0] if head else 0, 0, -1):
        ref = refs.at(lake.store, ref_of(base), number)
        if ref.artifact == base.artifact:
            return True
        state = lake.manifest(ref.kind, ref.recipe, ref.artifact)
        if state is not None and state.facts.get("base") == base.artifact:
            return True
    return False


def publish(lake: Lake, base: Manifest, cache: Path, forget: Collection[str] = ()) -> Manifest:
    """Publish a new base, with the tombstones of the state before it.

    Args:
        lake: The lake.
        base: What the `index` stage made.
        cache: Folder for what has been fetched and checked.
        forget: Images that were erased from the lake: not even their tombstones are taken over.
    """
    return remove(lake, base, cache, (), forget)


def remove(lake: Lake, base: Manifest, cache: Path, image_ids: Iterable[str], forget: Collection[str] = ()) -> Manifest:
    """Put tombstones on images; they are no hits from the next opening on.

    Args:
        lake: The lake.
        base: What the `index` stage made.
        cache: Folder for what has been fetched and checked.
        image_ids: The images; those removed already are passed over.
        forget: See :func:`publish`.

    Raises:
        InputError: An image that the index does not have; nothing is removed then.
    """
    wanted = sorted(set(image_ids))

    def change(state: State) -> Manifest:
        state = replace(state, gone=tuple(one for one in state.gone if one not in forget))
        snapshot = read_snapshot(lake, state.manifest)
        known = set(snapshot.removed) | set(state.gone)
        fresh = [image_id for image_id in wanted if image_id not in known]
        if not fresh and not state.gone:
            return state.manifest
        index = state.open(lake, cache)
        places = _places(index, [*state.gone, *fresh])
        for image_id in fresh:
            if places[image_id][1] < 0:
                raise unknown_image(image_id, index.close(image_id))
        removed = dict(snapshot.removed) | places
        statistics = bury(index.segments, index.statistics, fresh)
        changed = Snapshot(snapshot.segments, removed, statistics)
        return _commit(lake, state, changed, _parts(state.manifest, changed), ["remove", fresh])

    return _change(lake, base, change)


def add(lake: Lake, base: Manifest, cache: Path, image_ids: Iterable[str]) -> Manifest:
    """Take tombstones off images again.

    Args:
        lake: The lake.
        base: What the `index` stage made.
        cache: Folder for what has been fetched and checked.
        image_ids: The images; those that stand already are passed over.

    Raises:
        InputError: An image that is neither in the index nor removed from it, or that a compaction dropped for good.
    """
    wanted = sorted(set(image_ids))

    def change(state: State) -> Manifest:
        index = state.open(lake, cache)
        snapshot = read_snapshot(lake, state.manifest)
        removed = dict(snapshot.removed) | _places(index, state.gone)
        back = [image_id for image_id in wanted if index.find(image_id) is None]
        if not back and not state.gone:
            return state.manifest
        frequency, images = index.statistics.frequency.copy(), index.statistics.images
        segments = {segment.key: segment for segment in index.segments}
        for image_id in back:
            if image_id not in removed:
                raise unknown_image(image_id, index.close(image_id))
            key, row = removed.pop(image_id)
            if key not in segments:
                raise InputError(
                    "a compaction has dropped this image for good",
                    value=image_id,
                    remedy="It comes back with the next base, when the archive grows",
                )
            frequency[segments[key].forward.code(row)[0]] += 1
            images += 1
        changed = Snapshot(snapshot.segments, removed, Statistics(images, frequency))
        return _commit(lake, state, changed, _parts(state.manifest, changed), ["add", back])

    return _change(lake, base, change)


def compact(lake: Lake, base: Manifest, cache: Path) -> Manifest:
    """Write all live images as one segment, and let go of what tombstones took.

    Args:
        lake: The lake.
        base: What the `index` stage made.
        cache: Folder for what has been fetched and checked.
    """

    def change(state: State) -> Manifest:
        index = state.open(lake, cache)
        snapshot = read_snapshot(lake, state.manifest)
        gone = {*snapshot.removed, *state.gone}
        key = digest(["compact", [segment.key for segment in index.segments], sorted(gone)])
        draft = merged(key, index)
        plan = _plan(state, ["compact", key])
        removed = {image_id: ("", -1) for image_id in sorted(gone)}
        changed = Snapshot(((key, draft.rows),), removed, Statistics(draft.rows, draft.frequency))
        return commit_snapshot(lake, plan, base.name, changed, draft.put(lake, plan), _facts(base))

    return _change(lake, base, change)


def merged(key: str, index: Index) -> Draft:
    """All live images of an index as one segment.

    Args:
        key: What the segment is called.
        index: The index.
    """
    live = [np.flatnonzero(segment.live()) for segment in index.segments]
    codes = [segment.forward.matrix()[rows] for segment, rows in zip(index.segments, live, strict=True)]
    tables = [segment.images.table().take(pa.array(rows)) for segment, rows in zip(index.segments, live, strict=True)]
    together = sparse.csr_array(sparse.vstack(codes)) if codes else sparse.csr_array((0, index.n), dtype=np.float32)
    vectors = [one.dense.vectors[rows] for one, rows in zip(index.segments, live, strict=True) if one.dense is not None]
    dense = np.concatenate(vectors) if vectors and len(vectors) == len(index.segments) else None
    return Draft.of(key, together, pa.concat_tables(tables, promote_options="default"), dense)


def stats(index: Index, state: State) -> dict[str, Any]:
    """What an operator wants to know of an index.

    Args:
        index: The opened index.
        state: The state that was opened.
    """
    segments = [(segment.key, len(segment), len(segment.removed)) for segment in index.segments]
    return describe(index.statistics, segments, state)


def describe(statistics: Statistics, segments: Sequence[tuple[str, int, int]], state: State) -> dict[str, Any]:
    """The same from counts alone.

    Args:
        statistics: Counts over the live images.
        segments: Key, images and tombstones of each segment.
        state: The state that they are of.
    """
    frequency = statistics.frequency
    lengths = np.sort(frequency)
    quantile = {f"p{p}": int(lengths[min(len(lengths) - 1, len(lengths) * p // 100)]) for p in (50, 90, 99)}
    return {
        "images": statistics.images,
        "neurons": len(frequency),
        "postings": statistics.postings,
        "l0": statistics.postings / max(1, statistics.images),
        "dead_neurons": int((frequency == 0).sum()),
        "posting_length": {**quantile, "max": int(lengths[-1])},
        "segments": [{"key": key, "images": images, "removed": removed} for key, images, removed in segments],
        "tombstones": sum(removed for _, _, removed in segments),
        "version": state.version,
        "artifact": state.manifest.artifact,
        "bytes": sum(part.bytes for part in state.manifest.parts),
    }


def _change(lake: Lake, base: Manifest, change: Callable[[State], Manifest]) -> Manifest:
    """Make a change on the newest state and publish it, unless another writer was first: then once more."""
    while True:
        state = published(lake, base)
        made = change(state)
        target = refs.Ref(kind=made.kind, recipe=made.recipe, artifact=made.artifact)
        head = refs.head(lake.store, ref_of(base))
        if head is not None and head[0] == state.version and head[1].artifact == made.artifact:
            return made
        if refs.advance_from(lake.store, ref_of(base), target, state.version):
            return made


def _places(index: Index, image_ids: Iterable[str]) -> dict[str, tuple[str, int]]:
    """Where images lie, whether they still stand or not."""
    wanted = list(image_ids)
    places = dict.fromkeys(wanted, ("", -1))
    for segment in index.segments:
        rows = segment.images.places(wanted).tolist()
        places |= {one: (segment.key, row) for one, row in zip(wanted, rows, strict=True) if row >= 0}
    return places


def _parts(manifest: Manifest, snapshot: Snapshot) -> list[Part]:
    return [part for key, _ in snapshot.segments for part in segment_parts(manifest, key)]


def _plan(state: State, change: list[Any]) -> Plan:
    body = state.base.recipe_body
    recipe = Recipe(body["kind"], body["algorithm"], body["config"], body["models"])
    return Plan(recipe, {**state.base.inputs, "parent": state.manifest.content, "change": digest(change)})


def _facts(base: Manifest) -> dict[str, Any]:
    return {"codes": base.facts["codes"], "base": base.artifact}


def _commit(lake: Lake, state: State, snapshot: Snapshot, parts: Sequence[Part], change: list[Any]) -> Manifest:
    return commit_snapshot(lake, _plan(state, change), state.base.name, snapshot, parts, _facts(state.base))
