"""Ray Train for loops that save their whole state: any kill, then the same command, gives the uninterrupted bytes.

A state is tensors and JSON, so checkpoints are safetensors and never pickles. The run's name is the artifact's
fingerprint; Ray Train resumes by (folder, name), so a changed config can never continue another run.
"""

import contextlib
import hashlib
import importlib
import json
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

import ray
import ray.train
import torch
from ray.train.torch import TorchConfig, TorchTrainer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from neuroconcepts_ray.distributed.compat import resumable
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.connect import connect
from neuroconcepts_ray.distributed.place import Place
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.errors import EnvironmentFault, InputError, NeuroconceptsError, fault, from_fields
from neuroconcepts_ray.lake.recipe import sha256

PROGRESS, FAILURE = "progress.json", "error.json"

SEAL = "sealed"
"""Key of a checkpoint's JSON that holds the digests of its tensors and of the rest of the JSON."""


@dataclass(frozen=True)
class World:
    """Who this worker is among how many."""

    rank: int
    size: int


@dataclass(frozen=True)
class State:
    """All that a loop needs to go on bitwise: tensors, and plain JSON beside them."""

    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]

    def write(self, folder: Path, name: str = "state") -> None:
        """Write as ``<name>.safetensors`` and ``<name>.json``; tensors on the CPU are not copied for it."""
        tensors = folder / f"{name}.safetensors"
        save_file({k: v.detach().contiguous().cpu() for k, v in self.tensors.items()}, tensors)
        plain = json.loads(json.dumps(self.meta))
        seal = _seal(tensors, plain)
        (folder / f"{name}.json").write_text(json.dumps({**plain, SEAL: seal}))

    @classmethod
    def read(cls, folder: Path, name: str = "state") -> "State":
        """Read back :meth:`write`; nothing but safetensors and JSON is opened.

        The tensors are mapped from the file, not kept: the system may take the memory back at any time.

        Raises:
            InputError: Either file is missing, torn or something else, or not as it was written. (A checkpoint of the
                first programs has no seal, and is read unchecked.)
        """
        tensors = folder / f"{name}.safetensors"
        try:
            meta = json.loads((folder / f"{name}.json").read_text())
            seal = meta.pop(SEAL, None)
            if seal is not None and seal != _seal(tensors, meta):
                raise ValueError("altered")
            return cls(load_file(tensors), meta)
        except (SafetensorError, OSError, ValueError, AttributeError, TypeError) as error:
            raise InputError(
                "a checkpoint cannot be read: it is torn or was altered, or is no safetensors file",
                value=type(error).__name__,
                where=str(folder),
                remedy="Move the training's folder under training/ in the lake away, and run again: it begins anew",
            ) from error


def _seal(tensors: Path, meta: dict[str, Any]) -> dict[str, str]:
    with tensors.open("rb") as file:
        of_file = hashlib.file_digest(file, "sha256").hexdigest()
    # Not canonical JSON: a loss that is not a number is the loop's matter.
    return {"tensors": of_file, "meta": sha256(json.dumps(meta, sort_keys=True).encode())}


Save = Callable[[State, dict[str, float]], None]
Loop = Callable[[dict[str, Any], World, State | None, Save], None]


def _named(rank: int, *, sharded: bool) -> str:
    return f"state-{rank}" if sharded else "state"


def _read(checkpoint: ray.train.Checkpoint, names: list[str]) -> list[State]:
    with checkpoint.as_directory() as path:
        return [State.read(Path(path), name) for name in names]


def _run(config: dict[str, Any]) -> None:
    """The body of a training worker."""
    torch.set_num_threads(config["threads"])
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    place = Place(config["folder"])
    if place.read(FAILURE) is not None:
        return  # a try again after an error that would only come again
    module, _, name = config["loop"].partition(":")
    loop: Loop = getattr(importlib.import_module(module), name)
    checkpoint = ray.train.get_checkpoint()
    sharded = config["sharded"]
    file = _named(world.rank, sharded=sharded)

    def save(state: State, metrics: dict[str, float]) -> None:
        if world.rank and not sharded:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as path:
            state.write(Path(path), file)
            # Ranks copy their files into one folder, which counts once every rank has reported.
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(path))
        if not world.rank:
            place.write(PROGRESS, metrics)

    try:
        # The state goes to the loop and is kept nowhere else: it may let go of it once it has what it needs.
        loop(config["spec"], world, None if checkpoint is None else _read(checkpoint, [file]).pop(), save)
    except Exception as error:  # returned as data: Ray Train would try again what can only fail again
        ours = isinstance(error, NeuroconceptsError)
        if world.size == 1 or ours:
            place.write(FAILURE, (error if isinstance(error, NeuroconceptsError) else fault(error)).fields())
        if world.size > 1:
            raise  # else the others wait for this rank for ever; and a broken connection is mended by a retry


def _watch(place: Place, advance: Callable[[int], None], stop: threading.Event) -> None:
    done = 0
    while not stop.wait(0.5 if place.local else 5.0):
        try:
            step = int((place.read(PROGRESS) or {}).get("step", done))
        except (OSError, ValueError):
            continue
        advance(step - done)
        done = step


@overload
def train(
    loop: Loop,
    spec: dict[str, Any],
    *,
    name: str,
    folder: str,
    compute: ComputeConfig,
    label: str,
    total: int,
    threads: int,
    workers: int = 1,
    sharded: Literal[False] = False,
) -> State: ...


@overload
def train(
    loop: Loop,
    spec: dict[str, Any],
    *,
    name: str,
    folder: str,
    compute: ComputeConfig,
    label: str,
    total: int,
    threads: int,
    workers: int = 1,
    sharded: Literal[True],
) -> list[State]: ...


def train(
    loop: Loop,
    spec: dict[str, Any],
    *,
    name: str,
    folder: str,
    compute: ComputeConfig,
    label: str,
    total: int,
    threads: int,
    workers: int = 1,
    sharded: bool = False,
) -> State | list[State]:
    """Run a training loop under Ray Train, from its last checkpoint where there is one.

    Args:
        loop: A module-level function; found by its name in the workers.
        spec: Plain JSON data for it.
        name: The artifact's fingerprint.
        folder: Shared storage for checkpoints: a path or ``s3://`` URI.
        compute: GPUs of a worker, retries.
        label: The stage, for progress.
        total: Steps, for progress; ``metrics["step"]`` of each save counts towards it.
        threads: Torch threads of a worker; the caller's, because float32 sums on a CPU round by their number.
        workers: World size.
        sharded: Whether each rank saves a state of its own and goes on from it; they save equally often. Otherwise
            the states of all ranks are equal, and that of rank 0 is saved.

    Returns:
        The last state that was saved; where sharded, those of all ranks in their order.

    Raises:
        NeuroconceptsError: What the loop raised.
        EnvironmentFault: The workers died more often than ``compute.retries``.
    """
    connect(compute, workers * threads)
    above = Place(folder)
    place = above.child(name)
    place.make()
    place.delete(FAILURE)
    if not resumable(place):
        place.clear()
        place.make()
    filesystem, path = above.arrow()
    trainer = TorchTrainer(
        _run,
        train_loop_config={
            "loop": f"{loop.__module__}:{loop.__qualname__}",
            "spec": spec,
            "folder": place.uri,
            "threads": threads,
            "sharded": sharded,
        },
        torch_config=TorchConfig(backend="nccl" if compute.gpus else "gloo"),
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=compute.gpus > 0,
            resources_per_worker={"CPU": threads} | ({"GPU": compute.gpus} if compute.gpus else {}),
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=path,
            storage_filesystem=filesystem,
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=2),
            failure_config=ray.train.FailureConfig(max_failures=compute.retries),
        ),
    )
    stop = threading.Event()
    with track(label, total, "steps") as advance:
        watcher = threading.Thread(target=_watch, args=(place, advance, stop), daemon=True)
        watcher.start()
        try:
            result = trainer.fit()
        except Exception as error:
            _raise_failure(place)
            raise EnvironmentFault(
                "the training workers died",
                value=type(error).__name__,
                remedy="Run the same command again: it continues from the last checkpoint",
            ) from error
        finally:
            stop.set()
            watcher.join()
    _raise_failure(place)
    if result.checkpoint is None:
        raise EnvironmentFault("training saved no checkpoint", where=label, remedy="Run the same command again")
    files = [_named(rank, sharded=sharded) for rank in range(workers if sharded else 1)]
    states = _read(result.checkpoint, files)
    return states if sharded else states[0]


def _raise_failure(place: Place) -> None:
    failure = place.read(FAILURE)
    if failure is not None:
        raise from_fields(failure)


def forget(folder: str, name: str) -> None:
    """Remove the checkpoints of a training whose result is committed: they are only weight now."""
    with contextlib.suppress(OSError):
        Place(folder).child(name).clear()
