"""map_shards: CPU tasks load shards, an actor pool works on them and writes; Ray carries arrays in and reports out.

One row a shard from the plan to the report, so a shard is always one block, the same rows in the same order.
The actor that works on a shard writes its part and commits its receipt; the driver only counts.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
import ray.data

from neuroconcepts_ray.distributed.compat import alone, remote_args_accepted, tolerate_deaths
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.connect import check_fits, check_left, connect
from neuroconcepts_ray.distributed.hands import Actor, Find, Load, Loader
from neuroconcepts_ray.distributed.poison import Bench
from neuroconcepts_ray.distributed.progress import Advance, event, track
from neuroconcepts_ray.distributed.stall import watched
from neuroconcepts_ray.distributed.timing import Summary
from neuroconcepts_ray.distributed.travel import to_text
from neuroconcepts_ray.errors import EnvironmentFault, from_fields
from neuroconcepts_ray.lake.shards import Shard, Slip

LOADER_CPUS = 0.99
"""Of a load task. Unlike an actor's, or Ray Data would fuse both, and decode would no longer run beside the model."""

AHEAD = 2
"""Blocks promised to an actor, that which it works on among them: one waits ready, and a death takes few with it."""

GIVE_UP = 8
"""Shards that fail one after the other before the run ends: the disk or store is gone, not a file."""

QUIET_S = 60.0
"""Seconds without a report after which it is asked whether there are machines at all."""

FEW = 4
"""Shards that died which are looked into one by one; more are first passed over all machines again."""


class _Run:
    """One call of :func:`map_shards`: what is pending, what failed, what was spent."""

    def __init__(
        self,
        shards: Sequence[Shard | Slip],
        loader: Loader,
        make: tuple[str, dict[str, Any], int],
        policy: ComputeConfig,
        each: Callable[[str], None] | None = None,
    ) -> None:
        self.pending = {shard.key: shard for shard in shards}
        self.total = len(self.pending)
        self.loader, self.make, self.policy = loader, make, policy
        self.resources: dict[str, Any] = {"num_cpus": make[2]} | ({"num_gpus": policy.gpus} if policy.gpus else {})
        self.summary = Summary()
        self.failures: list[dict[str, Any]] = []
        self.in_a_row = 0
        self.each = each
        self.heard = time.monotonic()
        self.told = False

    def look(self) -> None:
        """Whether a pass that is silent waits for machines.

        Raises:
            EnvironmentFault: It has, for longer than ``node_wait_s``.
        """
        silent = time.monotonic() - self.heard
        if silent < min(QUIET_S, self.policy.node_wait_s / 2):
            return
        try:
            check_left(self.make[2], self.policy.gpus)
        except EnvironmentFault as fault:
            if silent >= self.policy.node_wait_s:
                raise
            if not self.told:
                self.told = True
                event("waiting", stage=self.loader.label, why=fault.what, machines=fault.value)
                if sys.stderr.isatty():
                    sys.stderr.write(f"waiting: {fault.what} ({fault.value})\n")

    def take(self, report: dict[str, Any], advance: Advance) -> None:
        """Take in the report of a shard.

        Raises:
            NeuroconceptsError: Of the data or the configuration: another try would meet it again.
            EnvironmentFault: Nothing can be read or written any more.
        """
        self.heard, self.told = time.monotonic(), False
        shard = self.pending.pop(report["key"], None)
        if shard is None:
            return
        if not report["failure"]:
            self.in_a_row = 0
            self.summary.add(shard.size, json.loads(report["seconds"]))
            advance(shard.size)
            if self.each is not None:
                self.each(shard.key)
            return
        failure = json.loads(report["failure"])
        if failure["type"] not in ("", EnvironmentFault.__name__):
            raise from_fields(failure)
        self.failures.append(failure)
        self.in_a_row += 1
        if self.in_a_row >= GIVE_UP:
            raise self.unfinished()

    def unfinished(self) -> EnvironmentFault:
        """What to say of shards that the disk or store failed."""
        first = self.failures[0]
        value = f"{len(self.failures) + len(self.pending)} of {self.total}"
        if first["type"]:
            detail = f"; {first['value']}" if first["value"] else ""
            return EnvironmentFault(
                first["what"], value=f"{value} shards unfinished{detail}", remedy=first["remedy"], where=first["where"]
            )
        return EnvironmentFault(
            f"{self.loader.label}: some shards could not be read",
            value=f"{value}; first: {first['what']}",
            remedy="Run the same command again: the finished shards are kept",
        )

    def passes(self, advance: Advance) -> None:
        """Pass what is pending over all machines, until few shards or none did not come back.

        Raises:
            EnvironmentFault: Passes broke off, more often than ``retries`` allows.
        """
        tries = 1 + self.policy.retries
        while tries:
            broken, before = None, len(self.pending)
            try:
                for report in self._pass():
                    self.take(report, advance)
            except ray.exceptions.RayError as error:
                broken = error
            if not self.pending or (broken is None and len(self.pending) <= max(FEW, self.policy.actors)):
                return
            # What breaks off days apart is not the same trouble.
            tries = self.policy.retries if len(self.pending) < before and broken is not None else tries - 1
        if broken is not None:
            raise _died(type(broken).__name__) from broken

    def _pass(self) -> Iterator[dict[str, Any]]:
        rows = [{"shard": to_text(shard)} for shard in self.pending.values()]
        tolerate_deaths(max(16, len(rows) // 20))
        with remote_args_accepted():
            dataset = (
                ray.data.from_items(rows, override_num_blocks=len(rows))
                .map_batches(
                    self.loader, batch_size=None, batch_format="pyarrow", num_cpus=LOADER_CPUS, **alone(actor=False)
                )
                .map_batches(
                    Actor,
                    fn_constructor_args=self.make,
                    batch_size=1,
                    batch_format="pyarrow",
                    compute=ray.data.ActorPoolStrategy(size=self.policy.actors, max_tasks_in_flight_per_actor=AHEAD),
                    **self.resources,
                    **alone(actor=True),
                )
            )
        yield from dataset.iter_rows()

    def settle(self, advance: Advance) -> None:
        """Look into the shards that died.

        Raises:
            EnvironmentFault: Some die whatever image is left out.
        """
        bench = Bench(self.loader, self.make, {"num_cpus": LOADER_CPUS}, self.resources)
        lost: list[str] = []
        try:
            for key, shard in list(self.pending.items()):
                report = bench.settle(to_text(shard), shard.size, 1 + max(1, self.policy.retries))
                if report is None:
                    lost.append(key)
                    if len(lost) == FEW:
                        break
                else:
                    self.take({**report, "key": key}, advance)
        finally:
            bench.close()
        if lost:
            raise _died(f"{len(lost)} of {self.total} shards", where=f"shard {lost[0]}")


def _died(value: str, where: str | None = None) -> EnvironmentFault:
    return EnvironmentFault(
        "a worker process died more often than compute.retries allows",
        value=value,
        where=where,
        remedy="Run the same command again; if it dies at the same place, look into Ray's worker log",
    )


def map_shards(
    shards: Sequence[Shard | Slip],
    *,
    worker: str,
    spec: dict[str, Any],
    load: Load,
    compute: ComputeConfig,
    threads: int,
    label: str,
    title: str | None = None,
    find: Find | None = None,
    each: Callable[[str], None] | None = None,
) -> Summary:
    """Run ``worker(load(shard))`` for every shard, each at least once; receipts decide which attempt counts.

    A shard whose process died is tried again; an image that kills its process is found and quarantined, where ``load``
    passes over tombstones and, if it is the actor that dies, the worker has a ``probe``.

    Args:
        shards: The shards that have no receipt yet, or slips of them.
        worker: ``module:Class`` of a :class:`Worker`, built in each actor; named, so that the driver need not import
            what the model needs.
        spec: Plain JSON data; models are named in it, never carried. To ``load`` it also has ``patience``, the fields
            of a :class:`neuroconcepts_ray.distributed.reading.Patience`.
        load: Runs in CPU tasks beside the actors.
        compute: Actors, GPUs, retries.
        threads: Torch threads of an actor; the caller's, because float32 sums on a CPU round by their number.
        label: The stage, for progress and records.
        title: What progress calls it, if not that.
        find: Gives a slip its rows, in the load task.
        each: Called in the driver with the key of every shard that is done; what it raises ends the run.

    Returns:
        Where the time went.

    Raises:
        NeuroconceptsError: The first error of the data or the configuration that a shard met; what was done is kept.
        EnvironmentFault: Some shards could not be read or written; the same command continues.
    """
    if not shards:
        return Summary()
    connect(compute, compute.actors * threads + 1)
    check_fits(compute.actors, threads, compute.gpus)
    patience = {"timeout_s": compute.read_timeout_s, "retries": compute.retries}
    loader = Loader(load, find, {**spec, "patience": patience}, label)
    run = _Run(shards, loader, (worker, spec, threads), compute, each)
    began = time.perf_counter()
    with track(title or label, sum(shard.size for shard in shards), "images") as advance, watched(run.look):
        run.passes(advance)
        if run.pending:
            run.settle(advance)
    run.summary.wall_s = time.perf_counter() - began
    run.summary.tell(title or label)
    if run.failures:
        raise run.unfinished()
    return run.summary
