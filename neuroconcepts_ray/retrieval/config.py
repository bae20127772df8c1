"""What the index can be told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from neuroconcepts_ray.config import PATH, StrictModel
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.retrieval.fetch import default_cache

ALGORITHM = 3


class IndexConfig(StrictModel):
    """Which spaces are indexed."""

    spaces: list[str] = []
    """Code spaces to index; empty means every space there is."""
    cache: Annotated[str, PATH] = ""
    """Folder on local disk for fetched and checked segments; empty: ``$XDG_CACHE_HOME/neuroconcepts``."""

    @property
    def cache_folder(self) -> Path:
        """The cache's folder."""
        return Path(self.cache) if self.cache else default_cache()


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
        codes = have[f"codes.{space}"]
        inputs = {"catalog": have["catalog"].content, "codes": codes.content}
        # Of units, whose codes keep only the largest, the full vectors are indexed too.
        fields = {"dense": True} if codes.facts.get("origin") == "units" else {}
        plans[f"index.{space}"] = Plan(Recipe("index", ALGORITHM, fields), inputs)
    return plans
