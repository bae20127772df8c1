"""Which SAEs can be trained over one stream of batches, and what such a training is called."""

from collections.abc import Sequence

from neuroconcepts_ray.lake.recipe import sha256
from neuroconcepts_ray.sae.config import SAEConfig

STREAM = ("tap", "batch_size", "steps", "epochs", "data_seed", "threads", "checkpoint_every", "memory")
"""Fields that decide which rows a step sees, how many steps there are, and how they are computed."""


def streams(configs: Sequence[SAEConfig]) -> list[list[int]]:
    """Numbers of the configs that share a stream, each in the order given.

    A data-parallel member (``workers`` above one) trains alone.
    """
    found: dict[tuple[object, ...], list[int]] = {}
    for number, config in enumerate(configs):
        alone = number if config.workers > 1 else None
        key = (alone, *(getattr(config, field) for field in STREAM))
        found.setdefault(key, []).append(number)
    return list(found.values())


def name(artifacts: Sequence[str], workers: int = 1) -> str:
    """The name of a training: the artifact's fingerprint, or a digest of all members' and of how many share them."""
    return artifacts[0] if len(artifacts) == 1 else sha256("\n".join([str(workers), *artifacts]).encode())
