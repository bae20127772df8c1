"""One Ray connection per command: the cluster that RAY_ADDRESS names, else a local one that ends with the command."""

import atexit
import logging
import os
import signal
import threading

from neuroconcepts_ray.distributed.compat import prepare_environment, quiet
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import EnvironmentFault


def connect(compute: ComputeConfig, need: int) -> None:
    """Connect once; later calls only check what is needed.

    Args:
        compute: Size of a local cluster.
        need: CPUs below which the work to come would wait for ever.

    Raises:
        EnvironmentFault: The cluster does not answer or has too few CPUs to make progress.
    """
    prepare_environment()
    import ray

    if not ray.is_initialized():
        _start(compute)
    total: float = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
    if total < need:
        raise EnvironmentFault(
            "the Ray cluster has too few CPUs",
            value=f"{total:g}",
            limit=f"at least {need}: actors x threads, and one to decode",
            remedy="Lower compute.actors or the stage's threads, or raise compute.cpus",
        )


def _start(compute: ComputeConfig) -> None:
    import ray

    address = os.environ.get("RAY_ADDRESS")
    on_stop = signal.getsignal(signal.SIGTERM)
    try:
        if address:
            ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
        else:
            ray.init(
                num_cpus=compute.resolved_cpus,
                include_dashboard=False,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
    except Exception as error:  # Ray raises a bare one where a process of its own does not come up in time
        raise EnvironmentFault(
            "the Ray cluster cannot be reached" if address else "a local Ray cluster cannot be started",
            value=address,
            remedy="Check RAY_ADDRESS, and that RAY_AUTH_MODE is the same on both sides"
            if address
            else f"Ray says: {(str(error) or type(error).__name__).splitlines()[0][:200]}",
        ) from error
    if threading.current_thread() is threading.main_thread():
        # Ray's own would end the process without a word.
        signal.signal(signal.SIGTERM, on_stop)
    # Ahead of Ray's own, which waits half a second for workers' logs to be printed; none are.
    atexit.register(ray.shutdown)
    quiet()


def check_fits(actors: int, threads: int, gpus: float) -> None:
    """Refuse actors that no machine of the cluster can hold, for they would be waited for without end.

    Args:
        actors: How many.
        threads: CPUs of one.
        gpus: GPUs of one.

    Raises:
        EnvironmentFault: Too few GPUs in all, or no machine with so many CPUs and GPUs.
    """
    nodes = _nodes()
    there = sum(node.get("GPU", 0.0) for node in nodes)
    if gpus and there < actors * gpus:
        raise EnvironmentFault(
            "the Ray cluster has too few GPUs",
            value=f"{there:g}",
            limit=f"{actors * gpus:g}: actors x GPUs",
            remedy="Lower compute.actors or compute.gpus; compute.gpus=0 computes on CPUs",
        )
    if not _holds(nodes, threads, gpus):
        raise EnvironmentFault(
            "no machine of the Ray cluster can hold an actor",
            value=f"at most {max((node.get('CPU', 0.0) for node in nodes), default=0.0):g} CPUs",
            limit=f"{threads} CPUs and {gpus:g} GPUs on one machine",
            remedy="Lower the stage's threads",
        )


def check_left(threads: int, gpus: float) -> None:
    """Whether the machines that are there now could hold one actor, and a load task beside it.

    Args:
        threads: CPUs of an actor.
        gpus: GPUs of one.

    Raises:
        EnvironmentFault: They could not: machines were lost.
    """
    nodes = _nodes()
    cpus = sum(node.get("CPU", 0.0) for node in nodes)
    if not _holds(nodes, threads, gpus) or cpus < threads + 1:
        raise EnvironmentFault(
            "the Ray cluster has lost machines, and those that are left cannot go on",
            value=f"{len(nodes)} machines with {cpus:g} CPUs",
            limit=f"one with {threads} CPUs and {gpus:g} GPUs for an actor, and a CPU to load",
            remedy="Start machines and run the same command again: the finished shards are kept",
        )


def _holds(nodes: list[dict[str, float]], threads: int, gpus: float) -> bool:
    """Whether some machine is large enough for an actor."""
    return any(node.get("CPU", 0.0) >= threads and node.get("GPU", 0.0) >= gpus for node in nodes)


def _nodes() -> list[dict[str, float]]:
    """Resources of each machine that lives."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
