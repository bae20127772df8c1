"""What mining will take: what is to be done by the keys of its shards, and what an image takes by receipts."""

from collections.abc import Mapping
from dataclasses import dataclass

from neuroconcepts_ray.activations.config import ActivationsConfig, plan
from neuroconcepts_ray.activations.pace import Pace, bottleneck, canary, cpu_s, crew, wall_s
from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.classifier.card import load_card
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan
from neuroconcepts_ray.lake.shards import Slip
from neuroconcepts_ray.pixels.shards import image_slips


@dataclass(frozen=True)
class Ahead:
    """What is to be mined, exactly: by the keys of its shards.

    Attributes:
        plans: The artifacts that are not finished, by name.
        images: Images of the catalog.
        shards: Shards of each artifact.
        to_do: Images of the shards without a receipt, by artifact.
        done: Keys of the shards with one, by artifact.
        shards_to_do: Shards that some artifact lacks.
        images_to_do: Their images.
        canary_to_do: How many of the canary's shards are among them.
    """

    plans: Mapping[str, Plan]
    images: int
    shards: int
    to_do: Mapping[str, int]
    done: Mapping[str, set[str]]
    shards_to_do: int
    images_to_do: int
    canary_to_do: int


@dataclass(frozen=True)
class Estimate:
    """What the mining to come will take.

    Attributes:
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
        caps: Caps of the config that would be exceeded.
    """

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
    caps: list[str]


def ahead(config: ActivationsConfig, have: Mapping[str, Manifest], lake: Lake) -> Ahead:
    """Look at what is to be mined.

    Args:
        config: Taps and shards.
        have: ``catalog`` and ``classifier``.
        lake: The lake.
    """
    every = plan(config, have)
    plans = {name: mine for name, mine in every.items() if lake.find(mine) is None}
    pixels = load_card(lake, have["classifier"]).pixels
    films = Films(lake, have["catalog"])
    done: dict[str, set[str]] = {}
    to_do: dict[str, int] = {}
    lacking: set[int] = set()
    shards: list[Slip] = []
    for name, mine in every.items():
        shards = image_slips(films, mine.recipe.digest, pixels, config.shard_rows)
        if name not in plans:
            continue
        done[name] = lake.done_shards(mine) & {shard.key for shard in shards}
        missing = [number for number, shard in enumerate(shards) if shard.key not in done[name]]
        to_do[name] = sum(shards[number].images for number in missing)
        lacking |= set(missing)
    return Ahead(
        plans=plans,
        images=sum(shard.images for shard in shards),
        shards=len(shards),
        to_do=to_do,
        done=done,
        shards_to_do=len(lacking),
        images_to_do=sum(shards[number].images for number in lacking),
        canary_to_do=len(lacking & set(canary(len(shards)))),
    )


def estimate(found: Ahead, at: Pace | None, compute: ComputeConfig, threads: int, cpus: float | None) -> Estimate:
    """From what is to be done, and what an image takes, to hours and bytes.

    Args:
        found: What is to be done.
        at: What an image takes; None where no receipt says.
        compute: Actors, GPUs and caps.
        threads: Threads of an actor.
        cpus: CPUs of the cluster; None for those of the config.
    """
    workers = crew(compute, threads, cpus)
    weights = {} if at is None else {name: round(each * found.to_do[name]) for name, each in at.bytes.items()}
    wall = None if at is None else found.images_to_do * wall_s(at, workers) / 3600
    caps = []
    if compute.max_bytes is not None and sum(weights.values()) > compute.max_bytes:
        caps.append("max_bytes")
    if compute.max_hours is not None and wall is not None and wall > compute.max_hours:
        caps.append("max_hours")
    return Estimate(
        images=found.images,
        images_to_do=found.images_to_do,
        shards=found.shards,
        shards_done=found.shards - found.shards_to_do,
        shards_to_do=found.shards_to_do,
        receipts=0 if at is None else at.receipts,
        seconds={} if at is None else dict(at.seconds),
        bytes=weights,
        cpu_hours=None if at is None else found.images_to_do * cpu_s(at, workers) / 3600,
        gpu_hours=wall * compute.actors * compute.gpus if wall is not None and compute.gpus else None,
        wall_hours=wall,
        cpus=float(compute.resolved_cpus) if cpus is None else cpus,
        actors=compute.actors,
        bottleneck=None if at is None else bottleneck(at, workers),
        caps=caps,
    )
