"""What runs in Ray's processes: a loader of shards, and the actor that holds a worker. Errors come back as data."""

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pyarrow as pa

from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.travel import from_text, pack, refusal, unpack
from neuroconcepts_ray.errors import NeuroconceptsError, fault
from neuroconcepts_ray.lake.manifest import Quarantined
from neuroconcepts_ray.lake.shards import Shard, Slip

Load = Callable[[Shard, dict[str, Any]], Block]

Find = Callable[[Slip, dict[str, Any]], Shard]

NONE: Mapping[int, str] = {}


class Worker(Protocol):
    """Built once an actor from a plain spec; called with each of its shards.

    One that also has ``probe(shard, block)``, which computes and writes nothing, lets an image that kills its process
    be found.
    """

    def __init__(self, spec: dict[str, Any]) -> None: ...

    def __call__(self, shard: Shard, block: Block) -> dict[str, float] | None:
        """Compute, write the parts, commit the receipts; seconds by step."""


def named(name: str) -> Any:
    """What ``module:attribute`` names."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def find_worker(name: str) -> type[Worker]:
    """The class that ``module:Class`` names."""
    found: type[Worker] = named(name)
    return found


def failure(error: Exception) -> str:
    """An error as data: it must not kill the run's other shards, nor lose its type on the way to the driver."""
    if isinstance(error, NeuroconceptsError):
        return json.dumps(error.fields())
    if isinstance(error, OSError):
        # Its message may hold a path with a patient's id.
        return json.dumps({"type": "", "what": error.strerror or type(error).__name__})
    return json.dumps(fault(error).fields())


class Loader:
    """Ray Data's map function: shards or slips in, blocks out.

    Args:
        load: Reads a shard.
        find: Gives a slip its rows.
        spec: Plain data, for both.
        label: The stage, for the record of an image that is masked.
    """

    def __init__(self, load: Load, find: Find | None, spec: dict[str, Any], label: str) -> None:
        self.load, self.find, self.spec, self.label = load, find, spec, label

    def __call__(self, table: pa.Table) -> pa.Table:
        """A row a shard, each with its block or with why there is none."""
        return pa.concat_tables(self.one(text) for text in table["shard"].to_pylist())

    def one(self, text: str, masked: Mapping[int, str] = NONE) -> pa.Table:
        """One of these rows.

        Args:
            text: The shard or slip.
            masked: Numbers of rows that are passed over and quarantined, and why.
        """
        start = time.perf_counter()
        try:
            named = from_text(text)
            shard = self.find(named, self.spec) if isinstance(named, Slip) and self.find else named
            if isinstance(shard, Slip):
                raise TypeError("a slip, and nothing that finds its rows")
            block = self.load(shard.without(list(masked)) if masked else shard, self.spec)
        except Exception as error:  # carried to the driver as data, whatever it is
            return refusal(text, failure(error))
        if masked:
            bad = [
                Quarantined(image_id=shard.rows[number].image_id, stage=self.label, cause=cause)
                for number, cause in masked.items()
            ]
            order = {row.image_id: number for number, row in enumerate(shard.rows)}
            block.quarantined = sorted([*block.quarantined, *bad], key=lambda one: order[one.image_id])
        if not block.seconds:
            block.seconds = {"read": time.perf_counter() - start}
        return pack(shard, block)


class Actor:
    """Ray Data's actor: blocks in, reports out. Holds the worker, and so the model, from its first block on.

    Args:
        worker: ``module:Class``.
        spec: What it is built from.
        threads: Torch's threads, where the worker uses torch.
    """

    def __init__(self, worker: str, spec: dict[str, Any], threads: int) -> None:
        self.make = (worker, spec, threads)
        self.worker: Worker | None = None
        self.failure = ""
        self.ended = 0.0

    def build(self) -> None:
        """Build the worker, where it is not there yet.

        Not when the actor starts: who dies then is started again by Ray without end, and no block tells of it.
        """
        if self.worker is not None or self.failure:
            return
        worker, spec, threads = self.make
        try:
            made = find_worker(worker)
            if "torch" in sys.modules:
                import torch

                torch.set_num_threads(threads)
            self.worker = made(spec)
        except Exception as error:  # carried to the driver as data, whatever it is
            self.failure = failure(error)

    def __call__(self, table: pa.Table) -> pa.Table:
        """A row a shard: its key, why it is not done, and seconds by step."""
        return pa.Table.from_pylist([self.one(table, row) for row in range(table.num_rows)])

    def one(self, table: pa.Table, row: int = 0, *, commit: bool = True) -> dict[str, str]:
        """One of these reports; without ``commit`` what is computed is thrown away."""
        began = time.perf_counter()
        waited = began - self.ended if self.ended else 0.0
        seconds: dict[str, float] = {}
        key = str(json.loads(table["shard"][row].as_py())["key"])
        self.build()
        why = str(table["failure"][row].as_py()) or self.failure
        if not why and self.worker is not None:
            try:
                shard, block = unpack(table, row)
                work = self.worker if commit else getattr(self.worker, "probe", self.worker)
                seconds = work(shard, block) or {}
            except Exception as error:  # carried to the driver as data, whatever it is
                why = failure(error)
        self.ended = time.perf_counter()
        seconds = {"wait": waited, **seconds}
        return {"key": key, "failure": why, "seconds": json.dumps(seconds)}

    def can_probe(self) -> bool:
        """Whether the worker can compute without writing."""
        self.build()
        return hasattr(self.worker, "probe")
