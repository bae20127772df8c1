"""The laws of one seed: what is how frequent, what goes with what, and the keys of its looks and words.

Two archives of one seed are of one world; another seed is another world, so that nothing can be tuned to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumothorax",
    "Support Devices",
)
"""The planted findings, by their CheXpert labels."""

BELOW_NOISE = ("Fracture",)
"""Planted, but fainter than the noise: nobody can see them, and who claims to has read something else."""

UNSEEN = ("Pneumonia", "Osteopenia")
"""Reported, but on no film: the first has a label, the second only words."""

UNREPORTED = ("Scoliosis", "Aortic Calcification", "Hiatal Hernia")
"""On the film, but in no report and no label."""

SHORTCUTS = ("Boxed Mark", "Drain", "Grain", "Border")
"""Artefacts that follow a finding without being it: mark in a box, tube in the chest wall, scanner, site."""

DEVICES = ("tube", "line", "leads", "pacemaker")
MARGINS = ("smooth", "spiculated")
RACES = ("asian", "black", "white")

_PREVALENCE = {
    "Atelectasis": 0.16,
    "Cardiomegaly": 0.18,
    "Consolidation": 0.16,
    "Edema": 0.16,
    "Enlarged Cardiomediastinum": 0.14,
    "Fracture": 0.14,
    "Lung Lesion": 0.16,
    "Pleural Effusion": 0.18,
    "Pleural Other": 0.14,
    "Pneumothorax": 0.16,
    "Support Devices": 0.24,
    "Pneumonia": 0.12,
    "Osteopenia": 0.12,
    "Scoliosis": 0.20,
    "Aortic Calcification": 0.20,
    "Hiatal Hernia": 0.18,
}
_LOADINGS = {
    "Cardiomegaly": 0.45,
    "Edema": 0.45,
    "Pleural Effusion": 0.45,
    "Support Devices": 0.25,
    "Enlarged Cardiomediastinum": 0.25,
}
_TIED = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Lung Lesion", "Pleural Effusion", "Pneumothorax")


@dataclass(frozen=True)
class World:
    """The laws of one seed.

    Args:
        prevalence: Share of studies with each finding and each other thing.
        loadings: How much of a finding's liability is the common one (heart failure: a large heart, edema, effusion).
        ties: Shortcut → the finding that it follows.
        confounds: "age", "sex", "race" → the finding whose liability it moves; no finding twice.
        looks: Seed of shapes and textures.
        words: Seed of the lexicon.
    """

    prevalence: Mapping[str, float]
    loadings: Mapping[str, float]
    ties: Mapping[str, str]
    confounds: Mapping[str, str]
    looks: int
    words: int


@lru_cache(maxsize=8)
def draw_world(seed: int) -> World:
    """The world of a seed."""
    rng = np.random.default_rng([seed, 0])
    prevalence = {name: share * float(rng.uniform(0.85, 1.2)) for name, share in _PREVALENCE.items()}
    loadings = {name: load * float(rng.uniform(0.8, 1.2)) for name, load in _LOADINGS.items()}
    order = rng.permutation(len(_TIED))
    tied = [_TIED[i] for i in order]
    ties = dict(zip(SHORTCUTS, tied, strict=False))
    # The three that no shortcut follows.
    confounds = dict(zip(("age", "sex", "race"), tied[len(SHORTCUTS) :], strict=True))
    looks, words = (int(key) for key in rng.integers(2**31, size=2))
    return World(prevalence, loadings, ties, confounds, looks, words)
