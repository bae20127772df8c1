"""Lesions of the skin and the pictures taken of them, as HAM10000 has them. No pixels here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator

DIAGNOSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
TONES = ("light", "medium", "dark")
RULER = "ruler"
ARTEFACTS = ("hairs", "vignette", "bubbles")
"""On pictures by chance; the ruler alone follows a diagnosis."""

# Shares of lesions, about those of HAM10000's 7,470.
_PREVALENCE = {"akiec": 0.031, "bcc": 0.044, "bkl": 0.097, "df": 0.010, "mel": 0.082, "nv": 0.723, "vasc": 0.013}

# How often a lesion of each diagnosis shows a structure, after the criteria of dermatoscopy: none proves a diagnosis.
_STRUCTURES: dict[str, dict[str, float]] = {
    "network": {"nv": 0.65, "mel": 0.55, "df": 0.75, "bkl": 0.1},
    "globules": {"nv": 0.35, "mel": 0.5, "bcc": 0.1},
    "asymmetry": {"nv": 0.12, "mel": 0.85, "bkl": 0.3, "bcc": 0.4, "akiec": 0.4, "df": 0.1, "vasc": 0.2},
    "jagged border": {"nv": 0.08, "mel": 0.7, "bkl": 0.25, "bcc": 0.2, "akiec": 0.3, "vasc": 0.1},
    "blue-white veil": {"mel": 0.5, "nv": 0.02, "bkl": 0.04, "bcc": 0.1},
    "milia-like cysts": {"bkl": 0.75, "nv": 0.06, "bcc": 0.05},
    "comedo-like openings": {"bkl": 0.55, "nv": 0.04},
    "branching vessels": {"bcc": 0.8, "akiec": 0.1, "mel": 0.05, "bkl": 0.05},
    "blue-grey nests": {"bcc": 0.55, "mel": 0.05},
    "scale": {"akiec": 0.75, "bkl": 0.15, "bcc": 0.1},
    "white patch": {"df": 0.85, "mel": 0.1, "bcc": 0.05},
    "lacunae": {"vasc": 0.95, "bcc": 0.03},
}
STRUCTURES = tuple(_STRUCTURES)

_AGES = {"akiec": 67, "bcc": 67, "bkl": 64, "df": 52, "mel": 61, "nv": 47, "vasc": 52}
_PLACES = ("back", "lower extremity", "trunk", "upper extremity", "abdomen", "chest", "face", "neck", "scalp", "foot")
_SUNNY = ("face", "scalp", "neck", "upper extremity")


@dataclass(frozen=True)
class SkinWorld:
    """The laws of one seed: shares of the diagnoses, how often each shows a structure, and whom the ruler follows."""

    prevalence: Mapping[str, float]
    structures: Mapping[str, Mapping[str, float]]
    ruler: str
    looks: int


@dataclass(frozen=True)
class Picture:
    """One picture of a lesion: its name, its number, and the artefacts on it."""

    image_id: str
    number: int
    artefacts: frozenset[str]


@dataclass(frozen=True)
class Lesion:
    """One lesion: what it is, what it shows, who has it and where.

    Args:
        index: Number in the archive's world.
        lesion_id: As HAM10000 names it.
        diagnosis: One of :data:`DIAGNOSES`.
        structures: Which of :data:`STRUCTURES` it shows.
        size: From 0 to 1.
        darkness: From 0 to 1: how much of its colour it has.
        key: Seed of its shape, the same in all pictures.
        age: Years, in fives as published.
        sex: "female" or "male".
        place: Where on the body.
        tone: Of the skin around.
        confirmed: How the diagnosis was made (dx_type).
        pictures: At least one.
    """

    index: int
    lesion_id: str
    diagnosis: str
    structures: frozenset[str]
    size: float
    darkness: float
    key: int
    age: int
    sex: str
    place: str
    tone: str
    confirmed: str
    pictures: tuple[Picture, ...]


@lru_cache(maxsize=8)
def skin_world(seed: int) -> SkinWorld:
    """The laws of a seed."""
    rng = np.random.default_rng([seed, 0, 1])
    shares = {name: share * float(rng.uniform(0.85, 1.2)) for name, share in _PREVALENCE.items()}
    total = sum(shares.values())
    shown = {
        name: {dx: min(0.97, share * float(rng.uniform(0.85, 1.15))) for dx, share in by.items()}
        for name, by in _STRUCTURES.items()
    }
    ruler = ("mel", "bkl", "bcc")[int(rng.integers(3))]
    return SkinWorld({name: share / total for name, share in shares.items()}, shown, ruler, int(rng.integers(2**31)))


def scattered(seed: int, number: int, size: int = 10**7) -> int:
    """A number below ``size`` that tells nothing of ``number``, and is another for every other one below ``size``.

    An affine map modulo a power of ten: its factor is odd and no multiple of five, so no two meet.
    """
    rng = np.random.default_rng([seed, 0, 2, size])
    factor = int(rng.integers(size // 10)) * 10 + (1, 3, 7, 9)[int(rng.integers(4))]
    return (number * factor + int(rng.integers(size))) % size


def draw_diagnosis(rng: np.random.Generator, world: SkinWorld) -> str:
    """A diagnosis by the world's shares."""
    return DIAGNOSES[int(rng.choice(len(DIAGNOSES), p=[world.prevalence[name] for name in DIAGNOSES]))]


def draw_lesion(config: PhantomConfig, index: int) -> Lesion:
    """Everything about one lesion but the pixels."""
    world = skin_world(config.seed)
    rng = generator(config, "patient", index)
    diagnosis = draw_diagnosis(rng, world)
    chances = rng.random(len(STRUCTURES)).tolist()
    shown = {
        name for name, chance in zip(STRUCTURES, chances, strict=True)
        if chance < world.structures[name].get(diagnosis, 0.0)
    }  # fmt: skip
    size, darkness, spread, male, sunny, tone, by = rng.random(7).tolist()
    key, place, sunny_place = (int(number) for number in rng.integers(2**31, size=3))
    # At the usual strength of the confounds, ages differ by diagnosis as they do in HAM10000.
    mean = 52 + 2 * config.confounds * (_AGES[diagnosis] - 52)
    z = math.sqrt(12) * (spread - 0.5)
    age = int(min(85, max(5, round((mean + 13 * z) / 5) * 5)))
    grave = diagnosis in ("akiec", "bcc", "mel")
    sex = "male" if male < 0.52 + (0.2 * config.confounds if grave else 0.0) else "female"
    exposed = sunny < (config.confounds if diagnosis in ("akiec", "bcc") else 0.12)
    where = _SUNNY[sunny_place % len(_SUNNY)] if exposed else _PLACES[place % len(_PLACES)]
    if grave or by < 0.35:
        confirmed = "histo"
    else:
        confirmed = "follow_up" if diagnosis == "nv" and by < 0.85 else "consensus" if by < 0.98 else "confocal"
    # One lesion in four has several pictures, as published.
    several = rng.random() < 0.26 and config.studies_max > 1
    count = 2 + int(rng.integers(config.studies_max - 1)) if several else 1
    pictures = []
    for number in range(count):
        draw = generator(config, "artefacts", index, number)
        sign = 1 if diagnosis == world.ruler else -1
        # A tie as firm as config says, around a ruler that is rare where nothing ties it.
        there = {RULER} if draw.random() < (1 + sign * config.shortcuts) / 2 else set()
        there |= {name for name, share in zip(ARTEFACTS, (0.35, 0.2, 0.15), strict=True) if draw.random() < share}
        name = scattered(config.seed, index * 8 + number)
        pictures.append(Picture(f"ISIC_{name:07d}", number, frozenset(there)))
    lesion_id = f"HAM_{scattered(config.seed + 1, index):07d}"
    return Lesion(
        index, lesion_id, diagnosis, frozenset(shown), size, darkness, key, age, sex, where,
        TONES[0 if tone < 0.6 else 1 if tone < 0.85 else 2], confirmed, tuple(pictures),
    )  # fmt: skip
