"""How many CPUs this process's Ray cluster has."""

from neuroconcepts_ray.distributed.compat import prepare_environment


def cluster_cpus() -> float | None:
    """CPUs of the cluster that this process is connected to; None where it is connected to none."""
    prepare_environment()
    import ray

    if not ray.is_initialized():
        return None
    return float(ray.cluster_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
