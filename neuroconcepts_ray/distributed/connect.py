"""One Ray connection per command: the cluster that RAY_ADDRESS names, else a local one that ends with the command."""

import atexit
import logging
import os

from neuroconcepts_ray.distributed.compat import prepare_environment, quiet
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import EnvironmentFault


def connect(compute: ComputeConfig) -> None:
    """Connect once; later calls return at once.

    Raises:
        EnvironmentFault: The cluster does not answer or has too few CPUs to make progress.
    """
    prepare_environment()
    import ray

    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
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
            atexit.register(ray.shutdown)
    except (ConnectionError, RuntimeError, TimeoutError, OSError, ValueError) as error:
        raise EnvironmentFault(
            "the Ray cluster cannot be reached" if address else "a local Ray cluster cannot be started",
            value=address,
            remedy="Check RAY_ADDRESS, and that RAY_AUTH_MODE is the same on both sides"
            if address
            else f"Ray says: {str(error).splitlines()[0][:200]}",
        ) from error
    quiet()
    need = compute.actors * compute.resolved_threads + 1
    total: float = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
    if total < need:
        raise EnvironmentFault(
            "the Ray cluster has too few CPUs to decode beside the actors",
            value=f"{total:g}",
            limit=f"actors x threads + 1 = {need}",
            remedy="Lower compute.actors or compute.threads",
        )
