"""Clearing away: what nothing reaches, found first and removed only when told to; never what anything refers to.

*Orphans* are bytes that no record names: parts of attempts that died or lost, what dead writers left, checkpoints of
trainings that are finished. They may go at any time, beside running commands: only what was written before the oldest
live lease, and is older than a grace period, counts. *Unfinished* work (receipts that no artifact names yet, their
parts, checkpoints) and finished *artifacts* that nothing reaches go only when asked for, and then nothing else may
write meanwhile.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.lake.formats import OlderFormat
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Root
from neuroconcepts_ray.lake.migrate import prepare
from neuroconcepts_ray.lake.store import SCRATCH
from neuroconcepts_ray.lake.survey import PART, Survey, address, survey

GRACE_S = 24 * 3600.0
"""Bytes younger than this are left alone, whatever they are."""

Sort = Literal["orphan", "unfinished", "artifact"]

_ORDER = ("ref", "manifest", "receipt", "part", "lease", "scratch", "probe", "checkpoints")
"""What is removed first: a kill in between leaves orphans, and nothing that points to what is gone."""


@dataclass(frozen=True, order=True)
class Garbage:
    """Something that may go.

    Attributes:
        sort: ``orphan``, ``unfinished`` or ``artifact``.
        what: ``ref``, ``manifest``, ``receipt``, ``part``, ``lease``, ``scratch``, ``probe`` or ``checkpoints``.
        root: Below which root.
        key: Its key; of checkpoints their folder's.
        bytes: Its size.
    """

    sort: Sort
    what: str
    root: Root
    key: str
    bytes: int


@dataclass
class Heap:
    """What may go.

    Attributes:
        garbage: All of it, by sort and key.
        running: Commands that are at work, whose bytes are left alone.
        known: SHA-256 of every part that a manifest names.
    """

    garbage: list[Garbage] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    known: frozenset[str] = frozenset()

    def of(self, sorts: Sequence[Sort]) -> list[Garbage]:
        """Those of some sorts, in the order in which they are removed."""
        some = [one for one in self.garbage if one.sort in sorts]
        return sorted(some, key=lambda one: (_ORDER.index(one.what), one))


def collect(
    lake: Lake,
    roots: Iterable[str] = (),
    *,
    recipes: Collection[str] = (),
    on_demand: Collection[str] = (),
    versions: int | None = None,
    grace_s: float = GRACE_S,
    own: str | None = None,
) -> Heap:
    """Find what may go; nothing is touched.

    Args:
        lake: The lake.
        roots: Keys of manifests that are kept beside those that refs point to: a config's finished artifacts.
        recipes: Recipes whose unfinished work is kept: a config's.
        on_demand: Kinds that no stage makes; such an artifact is kept as long as what it was made from.
        versions: How many of the newest versions of a ref keep what they point to; None for all.
        grace_s: Seconds for which bytes are left alone.
        own: Key of the caller's own lease, whose time is the store's.

    Raises:
        InputError: A record cannot be read, so that nobody knows what it refers to.
    """
    held = leases.leases(lake.store)
    now = next((one.written for one in held if one.key == own), time.time())
    running = [one for one in leases.live(held, now) if one.key != own]
    horizon = min([now - grace_s, *(one.began for one in running)])
    found = survey(lake)
    if found.damaged:
        key, error = min(found.damaged.items(), key=lambda item: item[0])
        remedy = f"{len(found.damaged)} records cannot be read: run `neuroconcepts verify --all` first"
        raise InputError(error.what, where=key, remedy=remedy)
    if found.older:
        migration = prepare(lake)
        waiting = [key for key in migration.made if migration.address(key) not in found.manifests]
        if waiting:
            raise OlderFormat(found.older[waiting[0]], waiting[0])
    kept = _kept(found, roots, on_demand, versions)
    garbage = [
        Garbage(sort, what, root, key, size)
        for sort, what, root, key, size, modified in _every(found, kept, frozenset(recipes))
        if modified < horizon
    ]
    dead = {one.key for one in held} - {one.key for one in running} - {own}
    garbage += [Garbage("orphan", "lease", "lake", key, found.blobs["lake"][key].bytes) for key in _there(found, dead)]
    known = frozenset(part.sha256 for manifest in found.manifests.values() for part in manifest.parts)
    return Heap(sorted(garbage), sorted(one.lease.verb for one in running), known)


def _there(found: Survey, keys: Iterable[str]) -> list[str]:
    return [key for key in sorted(keys) if key in found.blobs["lake"]]


def _kept(found: Survey, roots: Iterable[str], on_demand: Collection[str], versions: int | None) -> set[str]:
    kept = found.reach({*found.pointed(versions), *roots})
    while True:
        more = {
            key
            for key, manifest in found.manifests.items()
            if key not in kept
            and manifest.kind in on_demand
            and any(one in kept for keys in found.inputs(key).values() for one in keys)
        }
        if not more:
            return kept
        kept |= found.reach(more)


Entry = tuple[Sort, str, Root, str, int, float]


def _every(found: Survey, kept: Collection[str], recipes: Collection[str]) -> Iterator[Entry]:
    """All that may go, whatever its age: sort, what, root, key, bytes, time."""
    here = found.blobs["lake"]
    live = {(part.root, part.key) for key in kept for part in found.manifests[key].parts}
    named = {(part.root, part.key) for manifest in found.manifests.values() for part in manifest.parts}
    promised = {(one.part.root, one.part.key): key for key, one in found.receipts.items()}
    named |= {(part["root"], part["key"]) for raw in found.older.values() for part in raw["parts"]}
    unkept = [key for key in (*found.manifests, *found.older) if key not in kept]
    for name, versions in found.refs.items():
        if not any(address(ref) in kept for ref in versions.values()):
            unkept += [f"refs/{name}/{number}.json" for number in versions]
    for key in _there(found, unkept):
        what = "ref" if key.startswith("refs/") else "manifest"
        yield "artifact", what, "lake", key, here[key].bytes, here[key].modified
    for key, receipt in found.receipts.items():
        at = (receipt.part.root, receipt.part.key)
        if at not in live and key in here and key.split("/")[1] not in recipes:
            sort: Sort = "artifact" if at in named else "unfinished"
            yield sort, "receipt", "lake", key, here[key].bytes, here[key].modified
    roots: tuple[Root, ...] = ("lake", "phi")
    for root in roots:
        for key, blob in found.blobs[root].items():
            match = PART.match(key)
            if SCRATCH.match(key.rpartition("/")[2]):
                yield "orphan", "scratch", root, key, blob.bytes, blob.modified
            elif key.startswith("probe/"):
                yield "orphan", "probe", root, key, blob.bytes, blob.modified
            elif match and (root, key) not in live:
                sort = "artifact" if (root, key) in named else "unfinished" if (root, key) in promised else "orphan"
                if sort != "unfinished" or match["recipe"] not in recipes:
                    yield sort, "part", root, key, blob.bytes, blob.modified
    yield from _checkpoints(found)


def _checkpoints(found: Survey) -> Iterator[Entry]:
    finished = {manifest.artifact for manifest in found.manifests.values()}
    trainings: dict[str, list[tuple[int, float]]] = {}
    for key, blob in found.blobs["lake"].items():
        if key.startswith("training/") and key.count("/") >= 2:
            trainings.setdefault("/".join(key.split("/")[:2]), []).append((blob.bytes, blob.modified))
    for folder, sizes in trainings.items():
        sort: Sort = "orphan" if folder.split("/")[1] in finished else "unfinished"
        yield sort, "checkpoints", "lake", folder, sum(size for size, _ in sizes), max(time for _, time in sizes)


def remove(lake: Lake, garbage: Iterable[Garbage], advance: Callable[[int], None] | None = None) -> int:
    """Remove what was found, in the order given.

    Args:
        lake: The lake.
        garbage: From :meth:`Heap.of`.
        advance: Told of each removal.

    Returns:
        Bytes that are free now.
    """
    freed = 0
    for one in garbage:
        store = lake.root(one.root)
        (store.delete_tree if one.what == "checkpoints" else store.delete)(one.key)
        freed += one.bytes
        if advance is not None:
            advance(1)
    return freed


def sweep(
    lake: Lake,
    roots: Iterable[str] = (),
    *,
    sorts: Sequence[Sort] = ("orphan",),
    dry: bool = True,
    advance: Callable[[int], None] | None = None,
    **limits: Any,
) -> tuple[Heap, int]:
    """Find what may go and, unless ``dry``, remove it, under a lease.

    Args:
        lake: The lake.
        roots: See :func:`collect`.
        sorts: What is removed. Anything beyond orphans needs the lake for itself.
        dry: Only find.
        advance: Told of each removal.
        limits: Further arguments of :func:`collect`.

    Returns:
        What was found, and the bytes that are free now.

    Raises:
        EnvironmentFault: Another command is at work, and more than orphans were to be removed.
        InputError: See :func:`collect`.
    """
    if dry:
        return collect(lake, roots, **limits), 0
    with leases.hold(lake.store, "gc", exclusive=set(sorts) != {"orphan"}) as own:
        heap = collect(lake, roots, own=own, **limits)
        return heap, remove(lake, heap.of(sorts), advance)
