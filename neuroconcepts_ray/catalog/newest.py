"""The catalog that a config has by now, found without the modules that look at archives: `status` is to be quick."""

from neuroconcepts_ray.catalog.config import ALGORITHM, CatalogConfig
from neuroconcepts_ray.catalog.keys import HashKey, find_key
from neuroconcepts_ray.config import recipe_fields
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Recipe

NAME = "catalog"


def current(config: CatalogConfig, lake: Lake) -> Manifest | None:
    """The newest catalog of this config, without looking at the archive; None where there is none.

    Raises:
        ConfigError: The key file of the config cannot be read.
    """
    key = find_key(config, lake.phi)
    return None if key is None else lake.newest(config.ref, recipe(config, key).digest)


def recipe(config: CatalogConfig, key: HashKey) -> Recipe:
    """The recipe of a config's catalogs."""
    # Whether there are reports decides what the catalog holds; where they are does not.
    fields = {**recipe_fields(config), "reports": config.reports is not None, "hash_key": key.id}
    return Recipe(NAME, ALGORITHM, fields)
