"""What we need of Ray that has no stable name yet; each piece is pinned by ``tests/distributed/test_compat.py``."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from neuroconcepts_ray.errors import EnvironmentFault

if TYPE_CHECKING:
    from neuroconcepts_ray.distributed.place import Place  # pyarrow is not loaded before it is needed


def prepare_environment() -> None:
    """Variables that Ray and OpenMP read at import or start; whatever the user set stays."""
    # Without it Ray 2.59+ writes ~/.ray/auth_token, and other clients then get 401.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # How often a training's controller looks; a checkpoint waits for its next look, by default up to two seconds.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.05")
    # Our loops save all that they need and go on after a death, so none need be told of it ahead; it is a process less.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Threads of torch that wait shall sleep. They spin by default, and where two processes share the cores they take
    # them from each other: a step of an SAE of 2 ms then took 100.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


SNAPSHOT = "checkpoint_manager_snapshot.json"
"""What Ray Train resumes from; written in place, so a kill can tear it."""


def resumable(place: "Place") -> bool:
    """Whether Ray Train could go on from a run's folder; where not, starting over gives the same bytes."""
    try:
        snapshot = place.read(SNAPSHOT)
    except EnvironmentFault:
        raise
    except (OSError, ValueError):
        return False
    if snapshot is None:
        return True
    import ray

    return isinstance(snapshot, dict) and snapshot.get("ray_version") == ray.__version__


def quiet() -> None:
    """Leave standard error to our own progress; errors of Ray's libraries still come through."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It prints a traceback for each shard whose process died; we look into them.
    logging.getLogger("ray.data._internal.execution.streaming_executor_state").setLevel(logging.CRITICAL)
    # It warns that the bars, which we turned off, are off.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def alone(*, actor: bool) -> dict[str, Any]:
    """Arguments of ``map_batches`` by which a death takes one block: nothing is tried again behind our back.

    Ray's default is for ever. A dead actor is started again without end, but it builds its worker at its first block,
    so each death takes one, and :func:`tolerate_deaths` bounds these. (Of a finite number of starts Ray warns on
    standard error.) They go through ``**ray_remote_args``, which Ray 2.64 removes without a successor so far (hence
    ``ray<2.64``).
    """
    return {"max_restarts": -1, "max_task_retries": 0} if actor else {"max_retries": 0}


def tolerate_deaths(most: int) -> None:
    """Let a pass over the shards go on without those whose process died, up to a number; it says which came back."""
    from ray.data import DataContext

    DataContext.get_current().max_errored_blocks = most


@contextmanager
def remote_args_accepted() -> Iterator[None]:
    """Silence the deprecation of the arguments of :func:`alone`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*")
        yield
