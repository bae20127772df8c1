"""Everything that a lake's records say, read once: what exists, what points to what, what nothing points to.

For those who look after a lake; whoever only reads starts from a plan or a ref, and never from a listing.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.commit import read_record
from neuroconcepts_ray.lake.formats import OlderFormat
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Receipt, Root
from neuroconcepts_ray.lake.refs import Ref
from neuroconcepts_ray.lake.store import Blob

Record = TypeVar("Record", bound=StrictModel)

THREADS = 8
"""Reading waits for disks and networks, and hashing releases the interpreter's lock."""

REF = re.compile(r"refs/(?P<name>.+)/(?P<number>[0-9]+)\.json\Z")
MANIFEST = re.compile(r"(?!refs/|leases/|training/)[^/]+/[^/]+/[^/]+\.json\Z")
RECEIPT = re.compile(r"(?!refs/|leases/|training/)[^/]+/[^/]+/receipts/[^/]+\.json\Z")
PART = re.compile(r"(?!refs/|leases/|training/)(?P<kind>[^/]+)/(?P<recipe>[^/]+)/parts/[^/]+\Z")

OUTSIDE = ("archive", "change")
"""Inputs that are digests of what is no artifact: the archive's rows, a change of an index."""

PASSED = {"index": "parent"}
"""Inputs by kind that nobody reads again: the state that an index was changed from."""

MODELS = ("classifier", "sae")
"""Models of a recipe that are artifacts, by the digest of their content."""


def address(manifest: Manifest | Ref) -> str:
    """The key of the manifest that a manifest or ref names."""
    return f"{manifest.kind}/{manifest.recipe}/{manifest.artifact}.json"


@dataclass
class Survey:
    """What a lake holds.

    Attributes:
        blobs: Size and time of every key, by root.
        manifests: Every manifest that could be read, by key.
        receipts: Every receipt that could be read, by key; empty where they were not asked for.
        refs: The versions of every ref.
        older: Manifests of older formats, by key, as plain JSON data; see :mod:`migrate`.
        damaged: What could not be read, by key.
    """

    blobs: Mapping[Root, Mapping[str, Blob]]
    manifests: dict[str, Manifest] = field(default_factory=dict)
    receipts: dict[str, Receipt] = field(default_factory=dict)
    refs: dict[str, dict[int, Ref]] = field(default_factory=dict)
    older: dict[str, dict[str, Any]] = field(default_factory=dict)
    damaged: dict[str, InputError] = field(default_factory=dict)

    @cached_property
    def by_content(self) -> dict[str, list[str]]:
        """Keys of manifests by the digest of their content."""
        found: dict[str, list[str]] = {}
        for key, manifest in self.manifests.items():
            found.setdefault(manifest.content, []).append(key)
        return found

    def inputs(self, key: str) -> dict[str, list[str]]:
        """Keys of the manifests that an artifact was made from, by role; none where one is gone.

        Args:
            key: Key of the artifact's manifest.
        """
        manifest = self.manifests[key]
        models = manifest.recipe_body.get("models", {})
        skipped = (*OUTSIDE, PASSED.get(manifest.kind))
        named = {role: content for role, content in manifest.inputs.items() if role not in skipped}
        named |= {role: str(models[role]) for role in MODELS if role in models}
        found = {role: self.by_content.get(content, []) for role, content in named.items()}
        base = manifest.facts.get("base")
        if manifest.kind == "index" and isinstance(base, str):
            at = f"{manifest.kind}/{manifest.recipe}/{base}.json"
            found["base"] = [at] if at in self.manifests else []
        return found

    def reach(self, roots: Iterable[str]) -> set[str]:
        """Keys of the manifests among ``roots``, and of all that they were made from."""
        reached: set[str] = set()
        todo = [key for key in roots if key in self.manifests]
        while todo:
            key = todo.pop()
            if key not in reached:
                reached.add(key)
                todo += [one for found in self.inputs(key).values() for one in found]
        return reached

    def pointed(self, versions: int | None = None) -> set[str]:
        """Keys of manifests that refs point to: all versions, or the newest and each recipe's newest.

        Args:
            versions: How many of the newest versions of each ref count; None for all.
        """
        found: set[str] = set()
        for numbers in self.refs.values():
            newest_first = [numbers[number] for number in sorted(numbers, reverse=True)]
            of_recipe = {ref.recipe: ref for ref in reversed(newest_first)}
            found |= {address(ref) for ref in [*newest_first[:versions], *of_recipe.values()]}
        return found


def each(work: Callable[[str], None], keys: Sequence[str], advance: Callable[[int], None] | None = None) -> None:
    """Do something to every key in a pool of threads, and tell how many were done."""
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(work, keys):
            if advance is not None:
                advance(1)


def survey(lake: Lake, *, receipts: bool = True) -> Survey:
    """Read a lake's listing and all its records.

    Args:
        lake: The lake.
        receipts: Whether receipts are read too; there is one a shard.
    """
    # Listed before any record is read: what is committed meanwhile names parts that this listing may lack, never the
    # other way round.
    blobs: dict[Root, dict[str, Blob]] = {
        "lake": {blob.key: blob for blob in lake.store.scan()},
        "phi": {blob.key: blob for blob in lake.phi.scan()},
    }
    found = Survey(blobs)

    def read(key: str) -> None:
        ref = REF.match(key)
        try:
            if ref:
                one = read_record(lake.store, key, Ref)
                found.refs.setdefault(ref["name"], {})[int(ref["number"])] = one
            elif RECEIPT.match(key):
                found.receipts[key] = read_record(lake.store, key, Receipt)
            else:
                found.manifests[key] = read_record(lake.store, key, Manifest)
        except FileNotFoundError:
            return  # removed since it was listed
        except OlderFormat as error:
            found.older[key] = error.raw
        except InputError as error:
            found.damaged[key] = error

    keys = [key for key in blobs["lake"] if REF.match(key) or MANIFEST.match(key)]
    if receipts:
        keys += [key for key in blobs["lake"] if RECEIPT.match(key)]
    each(read, keys)
    return found
