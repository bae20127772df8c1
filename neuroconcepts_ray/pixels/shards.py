"""Which images are packed or mined together: a function of the catalog, the pixels and the config alone."""

from collections.abc import Mapping

from neuroconcepts_ray.catalog.sources import Source
from neuroconcepts_ray.catalog.tables import Catalog
from neuroconcepts_ray.catalog.tombstones import image_rows
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.shards import Shard, cut


def image_shards(
    catalog: Catalog, sources: Mapping[str, Source], recipe: str, pixels: PixelConfig, shard_rows: int
) -> list[Shard]:
    """The shards of a recipe, in the catalog's order; none crosses a frozen partition.

    Args:
        catalog: The catalog.
        sources: Its sources.
        recipe: Digest of the recipe.
        pixels: What an image is decoded to.
        shard_rows: Most images of a shard.
    """
    rows = image_rows(catalog, sources)
    size = pixels.channels * pixels.size**2
    return [shard for part in catalog.partitions for shard in cut(rows[part], recipe, size, shard_rows)]
