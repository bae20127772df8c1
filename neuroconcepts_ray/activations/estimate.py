"""What mining will take: what is to be done by the keys of its shards, and what an image takes by receipts."""

from collections.abc import Sequence
from dataclasses import dataclass

from neuroconcepts_ray.activations.pace import Pace, bottleneck, cpu_s, crew, wall_s
from neuroconcepts_ray.activations.passes import Work
from neuroconcepts_ray.distributed.config import ComputeConfig


@dataclass(frozen=True)
class Estimate:
    """What a pass will take.

    Attributes:
        of: ``images`` or ``patches``.
        images: Images of the catalog.
        images_to_do: Those whose shards some artifact lacks.
        shards: Shards of each artifact.
        shards_done: Those that every artifact has.
        shards_to_do: The others.
        receipts: Receipts that the figures below stand on; with none they are absent.
        seconds: Seconds an image by step.
        bytes: Bytes that will be written, by artifact.
        cpu_hours: Hours of CPU.
        gpu_hours: Hours for which the actors hold their GPUs.
        wall_hours: Hours for the configured actors, once they are at work.
        cpus: CPUs of the cluster that this is for.
        actors: Actors.
        bottleneck: The step that the others wait for.
    """

    of: str
    images: int
    images_to_do: int
    shards: int
    shards_done: int
    shards_to_do: int
    receipts: int
    seconds: dict[str, float]
    bytes: dict[str, int]
    cpu_hours: float | None
    gpu_hours: float | None
    wall_hours: float | None
    cpus: float
    actors: int
    bottleneck: str | None


def estimate(found: Work, at: Pace | None, compute: ComputeConfig, threads: int, cpus: float | None) -> Estimate:
    """From what is to be done, and what an image takes, to hours and bytes.

    Args:
        found: What is to be done.
        at: What an image takes; None where no receipt says.
        compute: Actors and GPUs.
        threads: Threads of an actor.
        cpus: CPUs of the cluster; None for those of the config.
    """
    workers = crew(compute, threads, cpus)
    wall = None if at is None else found.images_to_do * wall_s(at, workers) / 3600
    return Estimate(
        of="patches" if found.of.patched else "images",
        images=found.images,
        images_to_do=found.images_to_do,
        shards=found.shards,
        shards_done=found.shards - len(found.todo),
        shards_to_do=len(found.todo),
        receipts=0 if at is None else at.receipts,
        seconds={} if at is None else dict(at.seconds),
        bytes={} if at is None else {name: round(each * found.lacking(name)) for name, each in at.bytes.items()},
        cpu_hours=None if at is None else found.images_to_do * cpu_s(at, workers) / 3600,
        gpu_hours=wall * compute.actors * compute.gpus if wall is not None and compute.gpus else None,
        wall_hours=wall,
        cpus=float(compute.resolved_cpus) if cpus is None else cpus,
        actors=compute.actors,
        bottleneck=None if at is None else bottleneck(at, workers),
    )


def exceeded(told: Sequence[Estimate], compute: ComputeConfig) -> list[str]:
    """Caps of the config that all passes together would exceed.

    Args:
        told: Of each pass.
        compute: The caps.
    """
    caps = []
    if compute.max_bytes is not None and sum(sum(one.bytes.values()) for one in told) > compute.max_bytes:
        caps.append("max_bytes")
    if compute.max_hours is not None and sum(one.wall_hours or 0 for one in told) > compute.max_hours:
        caps.append("max_hours")
    return caps
