"""map_shards: CPU tasks load shards, an actor pool works on them and writes; Ray carries arrays in and reports out.

One row a shard from the plan to the report, so a shard is always one block, the same rows in the same order.
The actor that works on a shard writes its part and commits its receipt; the driver only counts.
"""

import importlib
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import ray
import ray.data

from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.block import Block
from neuroconcepts_ray.distributed.compat import actor_bounds, remote_args_accepted
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.connect import connect
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.errors import EnvironmentFault, NeuroconceptsError, fault, from_fields
from neuroconcepts_ray.lake.manifest import Quarantined
from neuroconcepts_ray.lake.shards import Shard

LOADER_CPUS = 0.99
"""Of a load task. Unlike an actor's, or Ray Data would fuse both, and decode would no longer run beside the model."""

Load = Callable[[Shard, dict[str, Any]], Block]


class Worker(Protocol):
    """Built once an actor from a plain spec; called with each of its shards."""

    def __init__(self, spec: dict[str, Any]) -> None: ...

    def __call__(self, shard: Shard, block: Block) -> None:
        """Compute, write the parts, commit the receipts."""


def find_worker(name: str) -> type[Worker]:
    """The class that ``module:Class`` names."""
    module, _, attribute = name.partition(":")
    found: type[Worker] = getattr(importlib.import_module(module), attribute)
    return found


def _shard(text: str) -> Shard:
    return validate(Shard, json.loads(text))


def _failure(error: Exception) -> str:
    """An error as data: it must not kill the run's other shards, nor lose its type on the way to the driver."""
    if isinstance(error, NeuroconceptsError):
        return json.dumps(error.fields())
    if isinstance(error, OSError):
        # Its message may hold a path with a patient's id.
        return json.dumps({"type": "", "what": error.strerror or type(error).__name__})
    return json.dumps(fault(error).fields())


class _Loader:
    """Ray Data's map function: shard → block, as one row of plain columns."""

    def __init__(self, load: Load, spec: dict[str, Any]) -> None:
        self.load = load
        self.spec = spec

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        start = time.perf_counter()
        out: dict[str, Any] = {"shard": row["shard"], "data": b"", "meta": "", "failure": ""}
        try:
            block = self.load(_shard(row["shard"]), self.spec)
        except Exception as error:  # carried to the driver as data, whatever it is
            out["failure"] = _failure(error)
            return out
        array = np.ascontiguousarray(block.array)
        out["data"] = array.tobytes()
        out["meta"] = json.dumps(
            {
                "shape": array.shape,
                "dtype": array.dtype.str,
                "kept": block.kept,
                "quarantined": [bad.model_dump() for bad in block.quarantined],
                "seconds": block.seconds or {"load": time.perf_counter() - start},
            }
        )
        return out


class _Actor:
    """Ray Data's actor: block → report. Holds the worker, and so the model."""

    def __init__(self, worker: str, spec: dict[str, Any], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.worker: Worker | None = None
        self.failure = ""
        try:
            self.worker = find_worker(worker)(spec)
        except Exception as error:  # carried to the driver as data, whatever it is
            self.failure = _failure(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        columns = (batch["shard"], batch["data"], batch["meta"], batch["failure"])
        failures = [self._one(*row) for row in zip(*columns, strict=True)]
        return {"shard": batch["shard"], "failure": np.asarray(failures, dtype=object)}

    def _one(self, shard: str, data: bytes, meta: str, failure: str) -> str:
        if failure or self.worker is None:
            return failure or self.failure
        facts = json.loads(meta)
        array = np.frombuffer(data, dtype=np.dtype(facts["dtype"])).reshape(facts["shape"])
        quarantined = [Quarantined(**bad) for bad in facts["quarantined"]]
        try:
            self.worker(_shard(shard), Block(array, facts["kept"], quarantined, facts["seconds"]))
        except Exception as error:  # carried to the driver as data, whatever it is
            return _failure(error)
        return ""


def map_shards(
    shards: Sequence[Shard],
    *,
    worker: str,
    spec: dict[str, Any],
    load: Load,
    compute: ComputeConfig,
    threads: int,
    label: str,
    each: Callable[[Shard], None] | None = None,
) -> None:
    """Run ``worker(load(shard))`` for every shard, each at least once; receipts decide which attempt counts.

    Args:
        shards: The shards that have no receipt yet.
        worker: ``module:Class`` of a :class:`Worker`, built in each actor; named, so that the driver need not import
            what the model needs.
        spec: Plain JSON data; models are named in it, never carried.
        load: Runs in CPU tasks beside the actors.
        compute: Actors, GPUs, retries.
        threads: Torch threads of an actor; the caller's, because float32 sums on a CPU round by their number.
        label: The stage, for progress.
        each: Called in the driver with every shard that is done; what it raises ends the run.

    Raises:
        NeuroconceptsError: The first error of the data or the configuration that a shard met; what was done is kept.
        EnvironmentFault: Some shards could not be read or written; the same command continues.
    """
    if not shards:
        return
    connect(compute, compute.actors * threads + 1)
    rows = [{"shard": shard.model_dump_json()} for shard in shards]
    sizes = {shard.key: len(shard.rows) for shard in shards}
    loaded = ray.data.from_items(rows, override_num_blocks=len(rows)).map(_Loader(load, spec), num_cpus=LOADER_CPUS)
    with remote_args_accepted():
        dataset = loaded.map_batches(
            _Actor,
            fn_constructor_args=(worker, spec, threads),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=compute.actors),
            num_cpus=threads,
            num_gpus=compute.gpus or None,
            **actor_bounds(compute.retries),
        )
    unread: list[str] = []
    with track(label, sum(sizes.values()), "images") as advance:
        for row in _rows(dataset):
            shard = _shard(row["shard"])
            if not row["failure"]:
                advance(sizes[shard.key])
                if each is not None:
                    each(shard)
                continue
            failure = json.loads(row["failure"])
            if failure["type"]:
                raise from_fields(failure)
            unread.append(failure["what"])
    if unread:
        raise EnvironmentFault(
            f"{label}: some shards could not be read",
            value=f"{len(unread)} of {len(shards)}; first: {unread[0]}",
            remedy="Run the same command again: the finished shards are kept",
        )


def _rows(dataset: "ray.data.Dataset") -> Any:
    try:
        yield from dataset.iter_rows()
    except ray.exceptions.RayError as error:
        raise EnvironmentFault(
            "a worker process died more often than compute.retries allows",
            value=type(error).__name__,
            remedy="Run the same command again; if it dies at the same place, look into Ray's worker log",
        ) from error
