"""Caps on what one run of mining may write and last: looked at before it starts, and whenever a shard is finished."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from neuroconcepts_ray.activations.pace import SAMPLE, crew, evenly, pace, wall_s
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt
from neuroconcepts_ray.lake.recipe import Plan
from neuroconcepts_ray.lake.shards import Slip


class Budget:
    """What a run may write and last, and what it has.

    Args:
        lake: The lake.
        plans: The artifacts that are not finished, by name.
        shards: Their shards, the same images in the same order under each name.
        done: Keys of the shards that have a receipt already, by name.
        compute: The caps.
        clock: For tests.
    """

    def __init__(
        self,
        lake: Lake,
        plans: Mapping[str, Plan],
        shards: Mapping[str, Sequence[Slip]],
        done: Mapping[str, Collection[str]],
        compute: ComputeConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lake, self.plans, self.done, self.compute = lake, plans, done, compute
        self.bytes = 0
        lead = next(iter(shards.values()))
        self._number = {slip.key: number for number, slip in enumerate(lead)}
        self._shards = shards
        self._left = -1
        self._clock = clock
        self._start = clock()

    def check(self, todo: Sequence[Slip], threads: int) -> None:
        """Refuse to start where receipts that exist say that a cap would be exceeded; none, nothing is known.

        Args:
            todo: The shards that the run would mine, under the first name.
            threads: Threads of an actor.

        Raises:
            EnvironmentFault: The bytes or hours to come are more than the cap.
        """
        self._left = len(todo)
        if self.compute.max_bytes is None and self.compute.max_hours is None:
            return
        found = pace(sample(self.lake, self.plans, self.done))
        if found is None:
            return
        weigh = sum(
            each * sum(slip.images for slip in todo if self._key(name, slip.key) not in self.done[name])
            for name, each in found.bytes.items()
        )
        hours = sum(slip.images for slip in todo) * wall_s(found, crew(self.compute, threads)) / 3600
        ahead = "it was not started"
        self._hold("max_bytes", round(weigh), f"mining would write more than its cap; {ahead}", reached=False)
        self._hold("max_hours", hours, f"mining would last longer than its cap; {ahead}", reached=False)

    def spend(self, shard: str) -> None:
        """Take a finished shard into account.

        Args:
            shard: Its key under the first name.

        Raises:
            EnvironmentFault: The run has written as many bytes, or lasted as many hours, as it may.
        """
        self._left -= 1
        if self._left == 0:  # nothing is left that could be stopped
            return
        if self.compute.max_bytes is not None:
            for name, plan in self.plans.items():
                key = self._key(name, shard)
                receipt = None if key in self.done[name] else self.lake.receipt(plan, key)
                self.bytes += 0 if receipt is None else receipt.part.bytes
            self._hold("max_bytes", self.bytes, "mining has written what it may; it was stopped")
        self._hold(
            "max_hours", (self._clock() - self._start) / 3600, "mining has lasted as long as it may; it was stopped"
        )

    def _hold(self, cap: str, value: int | float, what: str, *, reached: bool = True) -> None:
        limit = getattr(self.compute, cap)
        if limit is None or value < limit or (value == limit and not reached):
            return
        raise EnvironmentFault(
            what,
            value=value if isinstance(value, int) else f"{value:.4g}",
            limit=f"compute.{cap} {limit}",
            remedy=f"Raise compute.{cap} and run the same command again; the finished shards are kept"
            + (", and do not count again" if reached else "; `neuroconcepts plan` says what is to come"),
        )

    def _key(self, name: str, shard: str) -> str:
        """The key that a shard has under another name."""
        return self._shards[name][self._number[shard]].key


def sample(lake: Lake, plans: Mapping[str, Plan], done: Mapping[str, Collection[str]]) -> dict[str, list[Receipt]]:
    """Some receipts of each artifact, the same each time.

    Args:
        lake: The lake.
        plans: The artifacts by name.
        done: Keys of their finished shards.
    """
    found = {}
    for name, plan in plans.items():
        keys = sorted(done[name])
        read = lake.receipts(plan, [keys[number] for number in evenly(len(keys), SAMPLE)])
        found[name] = [receipt for receipt in read if receipt is not None]
    return found
