"""Caps on what one run of mining may write and last: looked at before it starts, and whenever a shard is finished."""

import time
from collections.abc import Callable, Sequence

from neuroconcepts_ray.activations.pace import SAMPLE, crew, evenly, pace, wall_s
from neuroconcepts_ray.activations.passes import Work
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt


class Budget:
    """What a run may write and last, and what it has.

    Args:
        lake: The lake.
        works: What the run will do.
        compute: The caps.
        clock: For tests.
    """

    def __init__(
        self, lake: Lake, works: Sequence[Work], compute: ComputeConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lake, self.works, self.compute = lake, works, compute
        self.bytes = 0
        self._shard = {
            slip.key: (work, number) for work in works for number, slip in zip(work.todo, work.lead, strict=True)
        }
        self._left = len(self._shard)
        self._clock = clock
        self._start = clock()

    def check(self, threads: int) -> None:
        """Refuse to start where receipts that exist say that a cap would be exceeded; without any, nothing is known.

        Args:
            threads: Threads of an actor.

        Raises:
            EnvironmentFault: The bytes or hours to come are more than the cap.
        """
        if self.compute.max_bytes is None and self.compute.max_hours is None:
            return
        weigh, hours = 0.0, 0.0
        for work in self.works:
            found = pace(sample(self.lake, work))
            if found is not None:
                weigh += sum(each * work.lacking(name) for name, each in found.bytes.items())
                hours += work.images_to_do * wall_s(found, crew(self.compute, threads)) / 3600
        ahead = "it was not started"
        self._hold("max_bytes", round(weigh), f"mining would write more than its cap; {ahead}", reached=False)
        self._hold("max_hours", hours, f"mining would last longer than its cap; {ahead}", reached=False)

    def spend(self, shard: str) -> None:
        """Take a finished shard into account.

        Args:
            shard: Its key under its pass's first artifact.

        Raises:
            EnvironmentFault: The run has written as many bytes, or lasted as many hours, as it may.
        """
        self._left -= 1
        if self._left == 0:  # nothing is left that could be stopped
            return
        if self.compute.max_bytes is not None:
            work, number = self._shard[shard]
            for name, plan in work.of.plans.items():
                key = work.slips[name][number].key
                receipt = None if key in work.done[name] else self.lake.receipt(plan, key)
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


def sample(lake: Lake, work: Work) -> dict[str, list[Receipt]]:
    """Some receipts of each artifact of a pass, the same each time.

    Args:
        lake: The lake.
        work: What there is of it, and what there is not.
    """
    found = {}
    for name, plan in work.of.plans.items():
        keys = sorted(work.done[name])
        read = lake.receipts(plan, [keys[number] for number in evenly(len(keys), SAMPLE)])
        found[name] = [receipt for receipt in read if receipt is not None]
    return found
