"""Which images are mined together: a function of the catalog, the pixels and the config alone."""

from collections.abc import Mapping, Sequence

from neuroconcepts_ray.catalog.sources import Source
from neuroconcepts_ray.catalog.tables import Catalog
from neuroconcepts_ray.catalog.tombstones import image_rows
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.shards import Shard, cut, rows_a_shard


def image_shards(
    catalog: Catalog, sources: Mapping[str, Source], recipe: str, pixels: PixelConfig, shard_rows: int
) -> list[Shard]:
    """The shards of a recipe, in the catalog's order; none crosses a frozen partition.

    Args:
        catalog: The catalog.
        sources: Its sources.
        recipe: Digest of the activations' recipe.
        pixels: What an image is decoded to.
        shard_rows: Most images of a shard.
    """
    rows = image_rows(catalog, sources)
    size = pixels.channels * pixels.size**2
    return [shard for part in catalog.partitions for shard in cut(rows[part], recipe, size, shard_rows)]


def shard_sizes(partitions: Sequence[int], pixels: PixelConfig, shard_rows: int) -> list[int]:
    """The rows of each of :func:`image_shards`, from what a catalog's manifest says, without reading its rows.

    Args:
        partitions: Rows of each frozen partition.
        pixels: What an image is decoded to.
        shard_rows: Most images of a shard.
    """
    most = rows_a_shard(pixels.channels * pixels.size**2, shard_rows)
    return [min(most, rows - start) for rows in partitions for start in range(0, rows, most)]
