"""This stage on Ray: CPU tasks decode shards, an actor writes them."""

from collections.abc import Mapping

from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.shards import map_shards
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.assemble import assemble
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import plan_to_json
from neuroconcepts_ray.pixels.config import PixelsConfig, plan
from neuroconcepts_ray.pixels.load import find, load
from neuroconcepts_ray.pixels.shards import image_slips


def run(
    config: PixelsConfig,
    have: Mapping[str, Manifest],
    lake: Lake,
    compute: ComputeConfig,
    root: str,
    geometry: PixelConfig,
) -> dict[str, Manifest]:
    """Pack every film of the catalog that is not packed yet.

    Args:
        config: How shards are cut.
        have: ``catalog``.
        lake: Where the pixels go.
        compute: Machines.
        root: The archive's root.
        geometry: How the classifier sees a film.

    Returns:
        ``{"pixels": manifest}``.
    """
    mine = plan(config, have, geometry)["pixels"]
    found = lake.find(mine)
    if found is not None:
        return {"pixels": found}
    shards = image_slips(Films(lake, have["catalog"]), mine.recipe.digest, geometry, config.shard_rows)
    done = lake.done_shards(mine)
    map_shards(
        [shard for shard in shards if shard.key not in done],
        worker="neuroconcepts_ray.pixels.packer:Packer",
        find=find,
        load=load,
        compute=compute.model_copy(update={"gpus": 0.0}),
        threads=1,
        label="pixels",
        spec={
            "plan": plan_to_json(mine),
            "lake": lake.store.uri,
            "phi": lake.phi.uri,
            "catalog": [have["catalog"].kind, have["catalog"].recipe, have["catalog"].artifact],
            "pixels": geometry.model_dump(),
            "root": root,
        },
    )
    manifest = assemble(
        lake,
        mine,
        "pixels",
        shards,
        facts={"shape": [geometry.channels, geometry.size, geometry.size]},
        max_bad_fraction=compute.max_bad_fraction,
        tolerant=compute.tolerant,
    )
    return {"pixels": manifest}
