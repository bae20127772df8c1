"""Which images are packed or mined together: a function of the catalog, the pixels and the config alone."""

from collections.abc import Iterator, Sequence

from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.shards import Shard, Slip, shard_of, shard_size


def image_shards(films: Films, recipe: str, pixels: PixelConfig, shard_rows: int) -> Iterator[Shard]:
    """The shards of a recipe, in the catalog's order; none crosses a frozen partition.

    Args:
        films: The catalog's images.
        recipe: Digest of the recipe.
        pixels: What an image is decoded to.
        shard_rows: Most images of a shard.
    """
    size = shard_size(pixels.channels * pixels.size**2, shard_rows)
    for start, rows in films.each(size):
        yield shard_of(rows, recipe, start)


def image_slips(films: Films, recipe: str, pixels: PixelConfig, shard_rows: int) -> list[Slip]:
    """The same without their rows, which :func:`find_shard` finds again; see :func:`image_shards`."""
    made = image_shards(films, recipe, pixels, shard_rows)
    return [Slip(shard.key, shard.size, shard.images, shard.start) for shard in made if shard.start is not None]


def find_shard(films: Films, slip: Slip) -> Shard:
    """The shard of a slip with its rows.

    Args:
        films: The images of the catalog that the slip was cut from.
        slip: From :func:`image_slips`.
    """
    return Shard(slip.key, films.some(slip.start, slip.size)[0], slip.start)


def shard_sizes(partitions: Sequence[int], pixels: PixelConfig, shard_rows: int) -> list[int]:
    """The rows of each of :func:`image_shards`, from what a catalog's manifest says, without reading its rows.

    Args:
        partitions: Rows of each frozen partition.
        pixels: What an image is decoded to.
        shard_rows: Most images of a shard.
    """
    most = shard_size(pixels.channels * pixels.size**2, shard_rows)
    return [min(most, rows - start) for rows in partitions for start in range(0, rows, most)]
