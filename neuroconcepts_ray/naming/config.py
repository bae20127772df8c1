"""What naming by reports can be told."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from neuroconcepts_ray.config import StrictModel, recipe_fields
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe

ALGORITHM = 1


class NamesConfig(StrictModel):
    """How neurons are named from report n-grams: found on ``probe``, held on ``verify``."""

    spaces: list[str] = []
    """Code spaces to name; empty means every space there is."""
    sections: Literal["observations", "findings", "impression", "last_paragraph"] = "observations"
    """What of a report names are taken from. observations: findings and impression, else its last paragraph; the
    others: that alone, and a report without it gives no names."""
    max_words: int = Field(default=3, ge=1, le=4)
    """Longest n-gram that may become a name."""
    max_terms: int = Field(default=2000, ge=1)
    """Terms that are tried: the most frequent ones, counted in patients."""
    min_groups: int = Field(default=10, ge=2)
    """A term is tried only if at least so many patients of ``probe`` have it and as many lack it, a neuron only if it
    fires in so many: a bound of privacy (no rare wording becomes public) and of power."""
    min_positives: int = Field(default=10, ge=2)
    """Patients of ``verify`` with the term, and without it, below which a name cannot be held."""
    q: float = Field(default=0.05, gt=0, lt=1)
    """False discovery rate (Benjamini–Hochberg), over all (neuron, term) on ``probe`` and over the candidates on
    ``verify``."""
    min_auroc: float = Field(default=0.6, ge=0.5, lt=1)
    """AUROC of activation → term on ``verify`` below which a neuron stays unnamed."""
    draws: int = Field(default=200, ge=50)
    """Resamples of patients behind the interval of that AUROC."""
    shuffles: int = Field(default=5, ge=1)
    """How often the whole procedure is repeated on reports shuffled across patients (the control)."""
    seed: int = Field(default=0, ge=0)
    """Seed of the resampling and the shuffles."""


def chosen_spaces(spaces: list[str], have: Mapping[str, Manifest]) -> list[str]:
    """The spaces asked for, or all whose codes are there.

    Raises:
        ConfigError: A space that has no codes.
    """
    there = sorted(name.removeprefix("codes.") for name in have if name.startswith("codes."))
    for space in spaces:
        if space not in there:
            raise ConfigError("no codes of this space", value=space, limit=", ".join(there) or "none yet")
    return list(spaces) or there


def plan(config: NamesConfig, have: Mapping[str, Manifest]) -> dict[str, Plan]:
    """One ``names.<space>`` per space; no recipe knows which spaces there are or what they are called.

    Adding or renaming a space redoes nothing.

    Raises:
        ConfigError: A space that has no codes.
    """
    fields = recipe_fields(config)
    fields.pop("spaces")
    plans = {}
    for space in chosen_spaces(config.spaces, have):
        recipe = Recipe("names", ALGORITHM, fields)
        inputs = {"catalog": have["catalog"].content, "codes": have[f"codes.{space}"].content}
        plans[f"names.{space}"] = Plan(recipe, inputs)
    return plans
