"""What the index can be told."""

from collections.abc import Mapping

from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 1


class IndexConfig(StrictModel):
    """Which spaces are indexed."""

    spaces: list[str] = []
    """Code spaces to index; empty means every space there is."""


def plan(config: IndexConfig, have: Mapping[str, Manifest]) -> dict[str, Plan]:
    """One ``index.<space>`` per space; no recipe knows which spaces there are or what they are called.

    Adding or renaming a space redoes nothing.

    Raises:
        ConfigError: A space that has no codes.
    """
    there = sorted(name.removeprefix("codes.") for name in have if name.startswith("codes."))
    plans = {}
    for space in config.spaces or there:
        if space not in there:
            raise ConfigError("no codes of this space", value=space, limit=", ".join(there) or "none yet")
        inputs = {"catalog": have["catalog"].content, "codes": have[f"codes.{space}"].content}
        plans[f"index.{space}"] = Plan(Recipe("index", ALGORITHM, {}), inputs)
    return plans
