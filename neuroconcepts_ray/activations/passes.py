"""Passes over the archive: entries that come out of one forward pass share the pixels they are made from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from neuroconcepts_ray.activations.config import ActivationsConfig, plan
from neuroconcepts_ray.activations.pace import canary
from neuroconcepts_ray.activations.patches import decoded
from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.classifier.card import load_card
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan
from neuroconcepts_ray.lake.shards import Slip
from neuroconcepts_ray.pixels.shards import image_slips


@dataclass(frozen=True)
class Pass:
    """Artifacts of whole images, or of their patches.

    Attributes:
        patched: Which of both.
        pixels: What an image is decoded to.
        plans: The artifacts by name.
    """

    patched: bool
    pixels: PixelConfig
    plans: Mapping[str, Plan]


@dataclass(frozen=True)
class Work:
    """What a pass has to do, exactly: by the keys of its shards.

    Attributes:
        of: The pass; of its artifacts those that are not finished.
        images: Images of the catalog.
        shards: Shards of each artifact.
        slips: The shards by artifact, the same images in the same order under each.
        done: Keys of those with a receipt, by artifact.
        todo: Numbers of the shards that some artifact lacks.
    """

    of: Pass
    images: int
    shards: int
    slips: Mapping[str, Sequence[Slip]]
    done: Mapping[str, set[str]]
    todo: Sequence[int]

    @property
    def lead(self) -> Sequence[Slip]:
        """The shards to do, as the first artifact calls them."""
        return [next(iter(self.slips.values()))[number] for number in self.todo]

    @property
    def images_to_do(self) -> int:
        """Their images."""
        return sum(slip.images for slip in self.lead)

    def lacking(self, name: str) -> int:
        """Images of the shards to do that an artifact lacks."""
        slips = (self.slips[name][number] for number in self.todo)
        return sum(slip.images for slip in slips if slip.key not in self.done[name])

    @property
    def canary(self) -> "Work":
        """As much of it as a canary mines."""
        chosen = set(canary(self.shards))
        return replace(self, todo=[number for number in self.todo if number in chosen])


def passes(plans: Mapping[str, Plan], pixels: PixelConfig) -> list[Pass]:
    """The passes that a config takes: one over whole images, and one over patches if an entry keeps them.

    Args:
        plans: Of all entries (:func:`config.plan`).
        pixels: How the classifier sees an image.

    Raises:
        ConfigError: Patches would need too large a frame.
    """
    found: dict[bool, dict[str, Plan]] = {}
    for name, mine in plans.items():
        found.setdefault("patches" in mine.recipe.config, {})[name] = mine
    return [
        Pass(patched, decoded(next(iter(some.values())).recipe.config, pixels), some)
        for patched, some in sorted(found.items())
    ]


def work(config: ActivationsConfig, have: Mapping[str, Manifest], lake: Lake) -> list[Work]:
    """What is to be done, pass by pass; also of those that are finished.

    Args:
        config: Entries and shards.
        have: ``catalog`` and ``classifier``.
        lake: The lake.
    """
    films = Films(lake, have["catalog"])
    pixels = load_card(lake, have["classifier"]).pixels
    return [_work(config, one, films, lake) for one in passes(plan(config, have), pixels)]


def _work(config: ActivationsConfig, one: Pass, films: Films, lake: Lake) -> Work:
    plans = {name: mine for name, mine in one.plans.items() if lake.find(mine) is None}
    slips = {
        name: image_slips(films, mine.recipe.digest, one.pixels, config.shard_rows) for name, mine in plans.items()
    }
    some = next(iter(slips.values()), None)
    if some is None:
        some = image_slips(films, "", one.pixels, config.shard_rows)
    done = {name: lake.done_shards(mine) & {slip.key for slip in slips[name]} for name, mine in plans.items()}
    todo = [number for number in range(len(some)) if any(slips[name][number].key not in done[name] for name in plans)]
    return Work(replace(one, plans=plans), sum(slip.images for slip in some), len(some), slips, done, todo)
