"""Cases of four mammograms, as DDSM has them: abnormalities with the words of its overlays. No pixels here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.lesions import scattered

MASS, CALCIFICATION = "MASS", "CALCIFICATION"
SHAPES = ("ROUND", "OVAL", "LOBULATED", "IRREGULAR")
MARGINS = ("CIRCUMSCRIBED", "MICROLOBULATED", "OBSCURED", "ILL_DEFINED", "SPICULATED")
TYPES = (
    "PUNCTATE", "ROUND_AND_REGULAR", "LUCENT_CENTER", "COARSE", "AMORPHOUS", "PLEOMORPHIC", "FINE_LINEAR_BRANCHING",
)  # fmt: skip
DISTRIBUTIONS = ("CLUSTERED", "LINEAR", "SEGMENTAL", "REGIONAL", "DIFFUSELY_SCATTERED")
WORDS = {"shape": SHAPES, "margin": MARGINS, "type": TYPES, "distribution": DISTRIBUTIONS}
"""What an overlay says of a mass (shape, margin) and of a calcification (type, distribution)."""

SILENT = ("arterial calcification", "lymph node")
"""On films, in no overlay."""

SCANNER = "coarse scanner"
SCRATCH = "scratch"
VIEWS = ("LEFT_CC", "LEFT_MLO", "RIGHT_CC", "RIGHT_MLO")
PATHOLOGIES = ("normal", "benign", "benign_without_callback", "cancer")

# Benign, malignant: how the words spread, about as the literature has it. No word proves a pathology.
_SPREAD = {
    "shape": ((0.35, 0.40, 0.20, 0.05), (0.10, 0.10, 0.25, 0.55)),
    "margin": ((0.62, 0.06, 0.20, 0.09, 0.03), (0.05, 0.10, 0.07, 0.30, 0.48)),
    "type": ((0.30, 0.28, 0.12, 0.15, 0.08, 0.06, 0.01), (0.05, 0.02, 0.01, 0.02, 0.15, 0.55, 0.20)),
    "distribution": ((0.45, 0.02, 0.05, 0.20, 0.28), (0.58, 0.15, 0.17, 0.08, 0.02)),
}
_PREVALENCE = {"normal": 0.27, "benign": 0.33, "benign_without_callback": 0.05, "cancer": 0.35}


@dataclass(frozen=True)
class BreastWorld:
    """The laws of one seed: shares of the pathologies, of masses among abnormalities, and how the words spread."""

    prevalence: Mapping[str, float]
    masses: float
    spread: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    looks: int


@dataclass(frozen=True)
class Abnormality:
    """One mass, or one group of calcifications.

    Args:
        kind: :data:`MASS` or :data:`CALCIFICATION`.
        malignant: Its pathology.
        words: By the keys of :data:`WORDS` that its kind has.
        side: "LEFT" or "RIGHT".
        places: View ("CC", "MLO") → (depth, height) in the breast's frame; a view that does not show it is not there.
        size: From 0 to 1.
        contrast: From 0 to 1.
        assessment: BI-RADS category, 2 to 5.
        key: Seed of its shape, the same in both views.
    """

    kind: str
    malignant: bool
    words: Mapping[str, str]
    side: str
    places: Mapping[str, tuple[float, float]]
    size: float
    contrast: float
    assessment: int
    key: int

    @property
    def subtlety(self) -> int:
        """DDSM's scale: 1 subtle, 5 obvious."""
        return 1 + min(4, int(self.contrast * 5))


@dataclass(frozen=True)
class Case:
    """One woman's four films.

    Args:
        index: Number in the archive's world.
        split: "train", "val" or "test".
        pathology: One of :data:`PATHOLOGIES`.
        volume: Of the archive's tapes.
        site: Letter of the hospital and its digitiser; B has the coarse one.
        number: The case's number.
        abnormalities: None in a normal case.
        density: BI-RADS, 1 to 4.
        age: Years.
        arterial: Whether the arteries are calcified.
        nodes: Sides with a lymph node in the axilla.
        scratched: Views whose film is scratched.
        key: Seed of the breasts.
    """

    index: int
    split: str
    pathology: str
    volume: int
    site: str
    number: int
    abnormalities: tuple[Abnormality, ...]
    density: int
    age: int
    arterial: bool
    nodes: frozenset[str]
    scratched: frozenset[str]
    key: int

    def shown(self, view: str) -> tuple[Abnormality, ...]:
        """The abnormalities on one film; ``view`` is one of :data:`VIEWS`."""
        side, _, direction = view.partition("_")
        return tuple(it for it in self.abnormalities if it.side == side and direction in it.places)


@lru_cache(maxsize=8)
def breast_world(seed: int) -> BreastWorld:
    """The laws of a seed."""
    rng = np.random.default_rng([seed, 0, 4])
    shares = {name: share * float(rng.uniform(0.85, 1.2)) for name, share in _PREVALENCE.items()}
    total = sum(shares.values())
    spread = {}
    for name, both in _SPREAD.items():
        jittered = [np.array(part) * rng.uniform(0.8, 1.25, len(part)) for part in both]
        benign, malignant = (tuple((part / part.sum()).tolist()) for part in jittered)
        spread[name] = (benign, malignant)
    masses = float(rng.uniform(0.5, 0.65))
    return BreastWorld(
        {name: share / total for name, share in shares.items()}, masses, spread, int(rng.integers(2**31))
    )


def _abnormality(rng: np.random.Generator, world: BreastWorld, malignant: bool) -> Abnormality:
    kind = MASS if rng.random() < world.masses else CALCIFICATION
    words = {}
    for name in ("shape", "margin") if kind == MASS else ("type", "distribution"):
        words[name] = WORDS[name][int(rng.choice(len(WORDS[name]), p=world.spread[name][malignant]))]
    side = "LEFT" if rng.random() < 0.5 else "RIGHT"
    # The depth is the same in both views; the height is not the same direction.
    depth, cc, mlo = float(rng.uniform(0.28, 0.68)), float(rng.uniform(-0.45, 0.45)), float(rng.uniform(-0.4, 0.5))
    places = {"CC": (depth, cc), "MLO": (depth, mlo)}
    # One in eight is seen in one view only.
    hidden = rng.random()
    if hidden < 0.125:
        del places["CC" if hidden < 0.0625 else "MLO"]
    size, contrast, doubt = rng.random(3).tolist()
    assessment = (4 if doubt < 0.4 else 5) if malignant else (2 if doubt < 0.3 else 3 if doubt < 0.65 else 4)
    return Abnormality(kind, malignant, words, side, places, size, contrast, assessment, int(rng.integers(2**31)))


def draw_pathology(rng: np.random.Generator, world: BreastWorld, older: float) -> str:
    """A pathology by the world's shares; ``older``, in standard deviations, makes cancer likelier."""
    shares = dict(world.prevalence)
    cancer = NormalDist().cdf(NormalDist().inv_cdf(shares["cancer"]) + older)
    rest = (1 - cancer) / (1 - shares["cancer"])
    weights = [cancer if name == "cancer" else shares[name] * rest for name in PATHOLOGIES]
    return PATHOLOGIES[int(rng.choice(len(PATHOLOGIES), p=weights))]


def draw_case(config: PhantomConfig, index: int) -> Case:
    """Everything about one case but the pixels."""
    world = breast_world(config.seed)
    rng = generator(config, "patient", index)
    chance = rng.random()
    split = "test" if chance < config.test_share else "val"
    split = split if chance < config.test_share + config.validate_share else "train"
    age = int(rng.integers(38, 86))
    pathology = draw_pathology(rng, world, config.confounds * (age - 61.5) / 13.9)
    found = []
    if pathology != "normal":
        study = generator(config, "study", index)
        found = [_abnormality(study, world, pathology == "cancer")]
        if study.random() < 0.2:
            # A cancer case may have something benign besides.
            found.append(_abnormality(study, world, pathology == "cancer" and bool(study.random() < 0.4)))
    density = 1 + int(np.clip(round(float(rng.normal(1.6 - (age - 60) / 40, 0.8))), 0, 3))
    arterial = bool(rng.random() < 0.05 + 0.4 * max(0, age - 50) / 36)
    nodes = frozenset(side for side in ("LEFT", "RIGHT") if rng.random() < 0.35)
    artefacts = generator(config, "artefacts", index)
    sign = 1 if pathology == "cancer" else -1
    coarse = artefacts.random() < (1 + sign * config.shortcuts) / 2
    site = "B" if coarse else "ACD"[int(artefacts.integers(3))]
    scratched = frozenset(view for view in VIEWS if artefacts.random() < 0.15)
    volume = 1 + int(artefacts.integers(15))
    return Case(
        index, split, pathology, volume, site, scattered(config.seed, index, 10**6), tuple(found), density, age,
        arterial, nodes, scratched, int(rng.integers(2**31)),
    )  # fmt: skip
