"""An image that kills its process is found by halving and set aside; whatever else died is only tried again.

Batches inside a shard are fixed and a masked row is zeros, so the bytes of the others do not depend on what was masked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from neuroconcepts_ray.distributed.hands import NONE, Actor, Loader

CAUSES = {"load": "kills the process that reads it", "work": "kills the process that infers it"}
"""By where the process died; part of the content, so the same whatever signal ended it."""


@dataclass(frozen=True)
class Fate:
    """How an attempt at a shard ended.

    Attributes:
        died: ``load`` or ``work``, where a process died; empty where none did.
        report: What the actor reported, if it did.
    """

    died: str = ""
    report: dict[str, str] | None = None


class Trouble(Exception):
    """A probe met an error of another kind, which is no verdict on any image.

    Args:
        report: Of the probe.
    """

    def __init__(self, report: dict[str, str]) -> None:
        super().__init__(report["failure"])
        self.report = report


def culprits(rows: Sequence[int], dies: Callable[[Sequence[int]], bool], tries: int) -> list[int]:
    """The rows that kill, among some that together do.

    A row is one only if it killed ``tries`` times alone; and nothing is, where a shard without any row dies too.

    Args:
        rows: Candidates.
        dies: Whether a process dies of these rows, all others being masked.
        tries: Deaths that are proof.
    """
    return [] if dies([]) else _search(rows, dies, tries)


def _search(rows: Sequence[int], dies: Callable[[Sequence[int]], bool], tries: int) -> list[int]:
    if len(rows) == 1:
        return list(rows) if all(dies(rows) for _ in range(tries - 1)) else []
    middle = len(rows) // 2
    return [row for half in (rows[:middle], rows[middle:]) if dies(half) for row in _search(half, dies, tries)]


class Bench:
    """Tries one shard at a time, each attempt in a task and an actor whose death is nobody else's.

    Args:
        loader: As in the pass.
        make: Arguments of the :class:`Actor`.
        task: Ray's options of a load task.
        actor: Ray's options of an actor.
    """

    def __init__(
        self, loader: Loader, make: tuple[str, dict[str, Any], int], task: dict[str, Any], actor: dict[str, Any]
    ) -> None:
        self._load: Any = ray.remote(_load).options(**task, max_retries=0, num_returns=2)
        self._class: Any = ray.remote(Actor).options(**actor, max_restarts=0, max_task_retries=0)
        self._loader, self._make = loader, make
        self._actor: Any = None

    def close(self) -> None:
        """Let go of the actor."""
        if self._actor is not None:
            ray.kill(self._actor)
            self._actor = None

    def attempt(self, text: str, masked: Mapping[int, str] = NONE, *, until: str = "commit") -> Fate:
        """Load a shard and work on it.

        Args:
            text: The shard or slip.
            masked: Rows to leave out, and why.
            until: ``load``, ``work`` (computed, and thrown away) or ``commit``.
        """
        block, loaded = self._load.remote(self._loader, text, dict(masked))
        try:
            failure = ray.get(loaded)
        except ray.exceptions.RayError:
            return Fate(died="load")
        if failure or until == "load":
            return Fate(report={"key": "", "failure": failure, "seconds": "{}"})
        if self._actor is None:
            self._actor = self._class.remote(*self._make)
        try:
            return Fate(report=ray.get(self._actor.one.remote(block, commit=until == "commit")))
        except ray.exceptions.RayError:
            self.close()
            return Fate(died="work")

    def can_probe(self) -> bool:
        """Whether the worker can compute without writing."""
        if self._actor is None:
            self._actor = self._class.remote(*self._make)
        return bool(ray.get(self._actor.can_probe.remote()))

    def settle(self, text: str, size: int, tries: int) -> dict[str, str] | None:
        """Do a shard that died; where images of it kill, do it without them.

        Args:
            text: The shard or slip.
            size: Its rows.
            tries: Deaths that are proof.

        Returns:
            The report; None where it dies whatever is masked, so that no image is to blame.
        """
        masked: dict[int, str] = {}
        while True:  # one image may kill who reads it, another who infers it
            for _ in range(tries):
                fate = self.attempt(text, masked)
                if fate.report is not None:
                    return fate.report
            where = fate.died
            try:
                found = self._culprits(text, [row for row in range(size) if row not in masked], size, tries, where)
            except Trouble as trouble:
                return trouble.report
            except ray.exceptions.RayError:
                return None
            if not found:
                return None
            masked |= dict.fromkeys(found, CAUSES[where])

    def _culprits(self, text: str, rows: Sequence[int], size: int, tries: int, where: str) -> list[int]:
        if where == "work" and not self.can_probe():
            return []

        def dies(rows: Sequence[int]) -> bool:
            some = set(rows)
            fate = self.attempt(text, {row: "" for row in range(size) if row not in some}, until=where)
            if fate.report is not None and fate.report["failure"]:
                raise Trouble(fate.report)
            return bool(fate.died)

        return culprits(rows, dies, tries)


def _load(loader: Loader, text: str, masked: dict[int, str]) -> tuple[Any, str]:
    table = loader.one(text, masked)
    return table, str(table["failure"][0].as_py())
