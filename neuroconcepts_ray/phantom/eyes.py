"""Subjects with one fundus image each, as Harvard-FairVLMed has them. No pixels here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.world import RACES

GLAUCOMA = "glaucoma"
SIGNS = ("rim notch", "disc haemorrhage", "nerve fibre defect", "peripapillary atrophy")
"""What an eye with glaucoma shows more often than others; no table tells of them."""

SILENT = ("drusen", "tortuous vessels")
"""On the image, in no note."""

PRESSURE = "high pressure"
"""In notes, on no image."""

SHADOW, DUST = "lid shadow", "dust"

_SHARES = {
    "rim notch": (0.05, 0.50),
    "disc haemorrhage": (0.03, 0.22),
    "nerve fibre defect": (0.05, 0.50),
    "peripapillary atrophy": (0.18, 0.40),
    PRESSURE: (0.10, 0.50),
}
ETHNICITIES, LANGUAGES = ("non-hispanic", "hispanic"), ("english", "spanish", "other")


@dataclass(frozen=True)
class EyeWorld:
    """The laws of one seed: how many eyes have glaucoma, each sign's share in eyes without and with it, its words."""

    prevalence: float
    shares: Mapping[str, tuple[float, float]]
    looks: int
    words: int


@dataclass(frozen=True)
class Subject:
    """One person with one eye's image.

    Args:
        index: Number in the archive's world.
        split: "train", "validate" or "test".
        glaucoma: Whether the eye has it.
        cup: Vertical ratio of cup to disc, from 0 to 1.
        seen: Which of ``SIGNS``, ``SILENT``, ``PRESSURE``, ``SHADOW`` and ``DUST`` there are.
        zone: Where notch and defect lie: "upper" or "lower".
        side: "left" or "right" eye.
        key: Seed of the vessels.
        age: Years.
        sex: "female" or "male".
        race: One of :data:`~neuroconcepts_ray.phantom.world.RACES`.
        ethnicity: As published; "unknown" of some.
        language: As published.
    """

    index: int
    split: str
    glaucoma: bool
    cup: float
    seen: frozenset[str]
    zone: str
    side: str
    key: int
    age: int
    sex: str
    race: str
    ethnicity: str
    language: str

    @property
    def name(self) -> str:
        """The stem of its file."""
        return f"data_{self.index + 1:05d}"


@lru_cache(maxsize=8)
def eye_world(seed: int) -> EyeWorld:
    """The laws of a seed."""
    rng = np.random.default_rng([seed, 0, 3])
    shares = {name: (low * float(rng.uniform(0.8, 1.2)), high * float(rng.uniform(0.85, 1.15)))
              for name, (low, high) in _SHARES.items()}  # fmt: skip
    looks, words = (int(key) for key in rng.integers(2**31, size=2))
    return EyeWorld(float(rng.uniform(0.42, 0.52)), shares, looks, words)


def draw_subject(config: PhantomConfig, index: int) -> Subject:
    """Everything about one subject but the pixels and the words."""
    world = eye_world(config.seed)
    rng = generator(config, "patient", index)
    chance = rng.random()
    split = "test" if chance < config.test_share else "validate"
    split = split if chance < config.test_share + config.validate_share else "train"
    age, female, race = int(rng.integers(25, 90)), bool(rng.random() < 0.56), RACES[int(rng.integers(len(RACES)))]
    ethnicity = ("unknown", *ETHNICITIES)[int(rng.choice(3, p=[0.03, 0.92, 0.05]))]
    language = LANGUAGES[int(rng.choice(3, p=[0.92, 0.03, 0.05]))]
    shift = (age - 57) / 18.8 + (1.4 if race == "black" else -0.7) + (-0.3 if female else 0.3)
    liability = float(rng.standard_normal()) + config.confounds * shift
    # The confounds spread the liability; the share of glaucoma stays about the world's.
    spread = (1 + config.confounds**2 * 2.1) ** 0.5
    glaucoma = liability > spread * NormalDist().inv_cdf(1 - world.prevalence)
    z, *chances = rng.random(1 + len(_SHARES)).tolist()
    seen = {
        name for (name, share), chance in zip(world.shares.items(), chances, strict=True) if chance < share[glaucoma]
    }
    middle, width = (0.64, 0.11) if glaucoma else (0.40, 0.10)
    cup = min(0.92, max(0.15, NormalDist(middle, width).inv_cdf(min(0.999, max(0.001, z)))))
    old = 0.25 + (age - 57) / 160
    seen |= {name for name, share in zip(SILENT, (old, 0.2), strict=True) if rng.random() < share}
    artefacts = generator(config, "artefacts", index)
    if artefacts.random() < (1 + (1 if glaucoma else -1) * config.shortcuts) / 2:
        seen.add(SHADOW)
    if artefacts.random() < 0.2:
        seen.add(DUST)
    zone, side = "lower" if rng.random() < 0.65 else "upper", "left" if rng.random() < 0.5 else "right"
    return Subject(
        index, split, bool(glaucoma), cup, frozenset(seen), zone, side, int(rng.integers(2**31)), age,
        "female" if female else "male", race, ethnicity, language,
    )  # fmt: skip
