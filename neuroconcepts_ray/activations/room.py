"""Whether what is kept fits into what it may take, asked before the first shard."""

from neuroconcepts_ray.activations.config import ActivationsConfig
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.shards import MAX_SHARD_BYTES

MAX_PART_BYTES = 512 * 1024 * 1024
"""Of what is kept of a shard: an actor holds its part, compressed, until it is written whole."""


def check_room(name: str, row_bytes: int, images: int, config: ActivationsConfig, film_bytes: int) -> None:
    """Refuse grids, or samples of positions, that are too large.

    Args:
        name: The tap.
        row_bytes: Bytes of an image's row.
        images: Images of the catalog.
        config: Its budget and shards.
        film_bytes: Decoded bytes of an image, which bound a shard too.

    Raises:
        ConfigError: All grids exceed ``grid_budget``, or the rows of one shard exceed 512 MiB.
    """
    budget = config.grid_budget or 0
    if name.endswith(":grid") and images * row_bytes > budget:
        raise ConfigError(
            f"the grids of {name} would take more than grid_budget",
            value=f"{images} images × {row_bytes} bytes = {images * row_bytes} bytes",
            limit=f"{budget} bytes",
            where="activations.grid_budget",
            remedy=f"Raise it, or keep a sample: {name.partition(':')[0]}:positions",
        )
    rows = min(config.shard_rows, max(1, MAX_SHARD_BYTES // film_bytes), images)
    if rows > 1 and rows * row_bytes > MAX_PART_BYTES:
        raise ConfigError(
            f"what is kept of one shard by {name} is too large",
            value=f"{rows} images × {row_bytes} bytes",
            limit=f"{MAX_PART_BYTES} bytes",
            where="activations.shard_rows",
            remedy=f"Set activations.shard_rows={max(1, MAX_PART_BYTES // row_bytes)}",
        )
