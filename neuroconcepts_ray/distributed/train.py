"""Ray Train for loops that save their whole state: any kill, then the same command, gives the uninterrupted bytes.

A state is tensors and JSON, so checkpoints are safetensors and never pickles. The run's name is the artifact's
fingerprint; Ray Train resumes by (folder, name), so a changed config can never continue another run.
"""

import contextlib
import importlib
import json
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

PROGRESS, FAILURE = "progress.json", "error.json"


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

    def write(self, folder: Path) -> None:
        """Write as ``state.safetensors`` and ``state.json``."""
        save_file({k: v.detach().contiguous().cpu() for k, v in self.tensors.items()}, folder / "state.safetensors")
        (folder / "state.json").write_text(json.dumps(self.meta))

    @classmethod
    def read(cls, folder: Path) -> "State":
        """Read back :meth:`write`; nothing but safetensors and JSON is opened.

        Raises:
            InputError: Either file is missing, torn or something else.
        """
        try:
            return cls(load_file(folder / "state.safetensors"), json.loads((folder / "state.json").read_text()))
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(
                "a checkpoint cannot be read: it is torn, or no safetensors file",
                value=type(error).__name__,
                where=str(folder),
                remedy="Move the training's folder under training/ in the lake away, and run again: it begins anew",
            ) from error


Save = Callable[[State, dict[str, float]], None]
Loop = Callable[[dict[str, Any], World, State | None, Save], None]


def _run(config: dict[str, Any]) -> None:
    """The body of a training worker."""
    torch.set_num_threads(config["threads"])
    context = ray.train.get_context()
    world = World(context.get_world_rank(), context.get_world_size())
    place = Place(config["folder"])
    module, _, name = config["loop"].partition(":")
    loop: Loop = getattr(importlib.import_module(module), name)
    checkpoint = ray.train.get_checkpoint()

    def save(state: State, metrics: dict[str, float]) -> None:
        if world.rank:
            ray.train.report(metrics)
            return
        with tempfile.TemporaryDirectory() as path:
            state.write(Path(path))
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(path))
        place.write(PROGRESS, metrics)

    try:
        resume = None
        if checkpoint is not None:
            with checkpoint.as_directory() as path:
                resume = State.read(Path(path))
        loop(config["spec"], world, resume, save)
    except Exception as error:  # returned as data: Ray Train would try again what can only fail again
        if world.size > 1 and not isinstance(error, NeuroconceptsError):
            raise  # a broken connection to another rank that died: a retry mends it
        known = error if isinstance(error, NeuroconceptsError) else fault(error)
        place.write(FAILURE, known.fields())


def _watch(place: Place, advance: Callable[[int], None], stop: threading.Event) -> None:
    done = 0
    while not stop.wait(0.5 if place.local else 5.0):
        try:
            step = int((place.read(PROGRESS) or {}).get("step", done))
        except (OSError, ValueError):
            continue
        advance(step - done)
        done = step


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
) -> State:
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

    Returns:
        The last state that was saved.

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
            raise EnvironmentFault(
                "the training workers died",
                value=type(error).__name__,
                remedy="Run the same command again: it continues from the last checkpoint",
            ) from error
        finally:
            stop.set()
            watcher.join()
    failure = place.read(FAILURE)
    if failure is not None:
        raise from_fields(failure)
    if result.checkpoint is None:
        raise EnvironmentFault("training saved no checkpoint", where=label, remedy="Run the same command again")
    with result.checkpoint.as_directory() as path:
        return State.read(Path(path))


def forget(folder: str, name: str) -> None:
    """Remove the checkpoints of a training whose result is committed: they are only weight now."""
    with contextlib.suppress(OSError):
        Place(folder).child(name).clear()
