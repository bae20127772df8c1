"""What mining costs, as its receipts say: seconds and bytes an image, the step that holds up the others, wall time."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.timing import STEPS
from neuroconcepts_ray.lake.manifest import Receipt

OF_ACTORS = ("infer", "write")
"""Steps that an actor does; load tasks beside the actors do the others."""

SAMPLE = 64
"""Receipts of an artifact that are read: enough for a mean, and few enough for a look on S3."""

CANARY_SHARE, CANARY_MOST = 0.01, 16
"""A canary's share of the shards (at least one), and the most shards that it has."""


@dataclass(frozen=True)
class Pace:
    """What an image costs.

    Attributes:
        receipts: How many receipts say so.
        images: The images of the first artifact's, those set aside included.
        seconds: Seconds an image by step; a step's are those of one process.
        bytes: Bytes an image that are written, by artifact.
    """

    receipts: int
    images: int
    seconds: Mapping[str, float]
    bytes: Mapping[str, float]


@dataclass(frozen=True)
class Crew:
    """Who works on a pass.

    Attributes:
        loaders: Load tasks at a time.
        actors: Actors.
        threads: Threads of an actor.
        gpus: GPUs of an actor.
        cores: Processors that all share, where that is known; a machine may be told that it has more CPUs than it has.
    """

    loaders: int
    actors: int
    threads: int
    gpus: float = 0.0
    cores: int | None = None


def crew(compute: ComputeConfig, threads: int, cpus: float | None = None) -> Crew:
    """Who works under a config.

    Args:
        compute: Actors and GPUs.
        threads: Threads of an actor.
        cpus: CPUs of the cluster; None for the local one that the config would start.
    """
    have = compute.resolved_cpus if cpus is None else cpus
    cores = None if os.environ.get("RAY_ADDRESS") else os.cpu_count()
    return Crew(max(1, int(have - compute.actors * threads)), compute.actors, threads, compute.gpus, cores)


def pace(receipts: Mapping[str, Sequence[Receipt]]) -> Pace | None:
    """The means of some receipts; None where there are none.

    All artifacts of a pass share what was read, decoded and inferred; each is written by itself.

    Args:
        receipts: By artifact, those of the same pass.
    """
    lead = next((some for some in receipts.values() if some), None)
    if lead is None:
        return None
    images = sum(map(_images, lead))
    seconds = dict.fromkeys(STEPS, 0.0)
    weights: dict[str, float] = {}
    for name, some in receipts.items():
        count = max(1, sum(map(_images, some)))
        weights[name] = sum(one.part.bytes for one in some) / count
        seconds["write"] += sum(one.seconds.get("write", 0.0) for one in some) / count
    for step in {step for one in lead for step in one.seconds} - {"write"}:
        seconds[step] = sum(one.seconds.get(step, 0.0) for one in lead) / max(1, images)
    return Pace(sum(map(len, receipts.values())), images, seconds, weights)


def _images(receipt: Receipt) -> int:
    return receipt.part.rows + len(receipt.quarantined)


def sides(pace: Pace, crew: Crew) -> dict[str, float]:
    """Seconds of wall time an image by step, were that step the only one."""
    return {step: spent / (crew.actors if step in OF_ACTORS else crew.loaders) for step, spent in pace.seconds.items()}


def bottleneck(pace: Pace, crew: Crew) -> str:
    """The step that takes longest of the side, load tasks or actors, that the other waits for."""
    every = sides(pace, crew)
    actors = {step: spent for step, spent in every.items() if step in OF_ACTORS}
    loaders = {step: spent for step, spent in every.items() if step not in OF_ACTORS}
    slower = actors if sum(actors.values()) >= sum(loaders.values()) else loaders
    return max(slower, key=lambda step: slower[step])


def cpu_s(pace: Pace, crew: Crew) -> float:
    """Seconds of CPU an image: a load task computes on one, an actor on each of its threads (with a GPU on one)."""
    threads = 1 if crew.gpus else crew.threads
    return sum(spent * (threads if step in OF_ACTORS else 1) for step, spent in pace.seconds.items())


def wall_s(pace: Pace, crew: Crew) -> float:
    """Seconds of wall time an image, once all are at work: those of the slower side, or of the processors in all."""
    every = sides(pace, crew)
    actors = sum(spent for step, spent in every.items() if step in OF_ACTORS)
    shared = cpu_s(pace, crew) / crew.cores if crew.cores else 0.0
    return max(actors, sum(every.values()) - actors, shared)


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` numbers below ``count``, evenly spread and the same each time."""
    chosen = min(count, most)
    return [(2 * i + 1) * count // (2 * chosen) for i in range(chosen)]


def canary(count: int) -> list[int]:
    """The numbers of the shards, of ``count``, that a canary mines: 1 %, at least one and at most 16."""
    return evenly(count, min(CANARY_MOST, max(1, round(CANARY_SHARE * count))))
