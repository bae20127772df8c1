"""Pointers that move: contiguous versions, each created once."""

import itertools
import random
import time
from collections.abc import Callable

from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.lake.commit import commit, read_record
from neuroconcepts_ray.lake.store import Store

LONGEST_WAIT_S = 2.0
"""Bound of the wait after a lost race."""


class Ref(StrictModel):
    """One version of a pointer."""

    kind: str
    """Kind of the artifact that is pointed to."""
    recipe: str
    """Its recipe."""
    artifact: str
    """Its fingerprint."""
    nonce: str = ""
    """The writer."""


def _versions(store: Store, name: str) -> list[int]:
    prefix = f"refs/{name}/"
    stems = [key[len(prefix) :].removesuffix(".json") for key in store.list(f"refs/{name}")]
    return sorted(int(stem) for stem in stems if stem.isdigit())


def head(store: Store, name: str) -> tuple[int, Ref] | None:
    """The newest version of a ref and its number, or None before the first."""
    versions = _versions(store, name)
    if not versions:
        return None
    return versions[-1], read_record(store, f"refs/{name}/{versions[-1]}.json", Ref)


def _later(store: Store, name: str, number: int) -> tuple[int, Ref]:
    """The newest version, sought from one that exists: versions are contiguous, so steps may double, then halve.

    A list of a ref that has hundreds of versions costs as much as all these looks together.
    """

    def there(version: int) -> bool:
        return store.exists(f"refs/{name}/{version}.json")

    step = 1
    while there(number + step):
        number, step = number + step, step * 2
    while step > 1:
        step //= 2
        if there(number + step):
            number += step
    return number, at(store, name, number)


def at(store: Store, name: str, number: int) -> Ref:
    """One version of a ref, for good.

    Raises:
        FileNotFoundError: There is no such version.
    """
    return read_record(store, f"refs/{name}/{number}.json", Ref)


def newest(store: Store, name: str, recipe: str) -> Ref | None:
    """The newest version of a ref that points to an artifact of that recipe, or None.

    A ref is shared by all configs of one archive: another config's newer artifact must not hide this one's.
    """
    for number in reversed(_versions(store, name)):
        ref = read_record(store, f"refs/{name}/{number}.json", Ref)
        if ref.recipe == recipe:
            return ref
    return None


def advance(store: Store, name: str, target: Ref, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Point ``name`` at ``target`` by the next version number; nothing happens if it already does.

    Losers of a race take the number after the winner's, so versions are contiguous and none is lost. They wait a
    random while first, bounded by sixteen times what the attempt took and doubled each time: writers in step would meet
    again at every number, and on S3 a contended write takes a second where another takes a fiftieth.

    Args:
        store: The store.
        name: The ref.
        target: What it shall point to.
        sleep: For tests.

    Returns:
        The version that holds the target.
    """
    newest: tuple[int, Ref] | None = None
    for lost in itertools.count(1):
        start = time.monotonic()
        newest = head(store, name) if newest is None else _later(store, name, newest[0])
        if newest is not None and newest[1].model_copy(update={"nonce": ""}) == target.model_copy(update={"nonce": ""}):
            return newest[0]
        number = newest[0] + 1 if newest else 1
        _, won = commit(store, f"refs/{name}/{number}.json", target)
        if won:
            return number
        bound = min((time.monotonic() - start) * 8 * 2**lost, LONGEST_WAIT_S)
        sleep(random.uniform(0, bound))  # noqa: S311 - no secret
    raise AssertionError


def advance_from(store: Store, name: str, target: Ref, number: int) -> bool:
    """Point ``name`` at ``target`` unless it has moved since version ``number`` (0 before the first) was read.

    For a target that was made from what the ref pointed to: a loser reads again and makes its own anew.

    Returns:
        Whether it was this writer's.
    """
    _, won = commit(store, f"refs/{name}/{number + 1}.json", target)
    return won
