"""Whether what is kept fits into what it may take, asked before the first shard."""

from neuroconcepts_ray.errors import ConfigError

MAX_PART_BYTES = 512 * 1024 * 1024
"""Of what is kept of a shard: an actor holds its part, compressed, until it is written whole."""


def check_budget(name: str, row_bytes: int, images: int, budget: int) -> None:
    """Refuse grids that are too large.

    Args:
        name: The tap.
        row_bytes: Bytes of an image's row.
        images: Images of the catalog.
        budget: Most bytes of all.

    Raises:
        ConfigError: All rows exceed the budget.
    """
    if images * row_bytes > budget:
        raise ConfigError(
            f"the grids of {name} would take more than grid_budget",
            value=f"{images} images × {row_bytes} bytes = {images * row_bytes} bytes",
            limit=f"{budget} bytes",
            where="activations.grid_budget",
            remedy=f"Raise it, or keep a sample: {name.partition(':')[0]}:positions",
        )


def check_part(name: str, row_bytes: int, rows: int) -> None:
    """Refuse shards of which too much is kept.

    Args:
        name: The tap.
        row_bytes: Bytes of an image's row.
        rows: Most images of a shard.

    Raises:
        ConfigError: A shard's rows exceed 512 MiB.
    """
    if row_bytes > MAX_PART_BYTES:
        raise ConfigError(
            f"what is kept of one image by {name} is too large",
            value=f"{row_bytes} bytes",
            limit=f"{MAX_PART_BYTES} bytes",
            where="activations",
            remedy="Keep less of it: a sample of positions, or fewer patches by a larger size and stride",
        )
    if rows * row_bytes > MAX_PART_BYTES:
        raise ConfigError(
            f"what is kept of one shard by {name} is too large",
            value=f"{rows} images × {row_bytes} bytes",
            limit=f"{MAX_PART_BYTES} bytes",
            where="activations.shard_rows",
            remedy=f"Set activations.shard_rows={max(1, MAX_PART_BYTES // row_bytes)}",
        )
