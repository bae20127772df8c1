"""Which images are encoded together: those that were mined together."""

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.recipe import digest
from neuroconcepts_ray.lake.shards import Row, Shard


def code_shards(lake: Lake, activations: Manifest, recipe: str) -> list[tuple[Shard, Part]]:
    """One shard of codes for each part of activations, with that part.

    The source of a row is the part it stands in, so that codes of an unchanged part are never made again.

    Args:
        lake: The lake.
        activations: The activations.
        recipe: Digest of the codes' recipe.
    """
    return [(code_shard(lake, part, recipe), part) for part in activations.parts if part.rows]


def code_shard(lake: Lake, part: Part, recipe: str) -> Shard:
    """The shard of codes that a part of activations becomes.

    Args:
        lake: The lake.
        part: Of activations, with rows.
        recipe: Digest of the codes' recipe.
    """
    image_ids = lake.table(part, ["image_id"])["image_id"].to_pylist()
    key = digest([recipe, [[image_id, part.sha256] for image_id in image_ids]])
    return Shard(key=key, rows=[Row(image_id=image_id, source=part.sha256) for image_id in image_ids])
