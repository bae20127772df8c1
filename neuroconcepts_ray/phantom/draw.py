"""What is drawn at random: patients, their studies, findings and films. No pixels here.

Each thing has a generator of its own, derived from (seed, kind, patient, study, film): adding a patient, a study
or a film leaves every other one as it was.
"""

import hashlib
import math
from dataclasses import dataclass, field
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np

from neuroconcepts_ray.phantom.config import PhantomConfig

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Lung Lesion",
    "Pleural Effusion",
    "Pneumothorax",
    "Support Devices",
)
"""The planted findings, by their CheXpert labels."""

PREVALENCE = {
    "Atelectasis": 0.17,
    "Cardiomegaly": 0.20,
    "Consolidation": 0.17,
    "Edema": 0.17,
    "Lung Lesion": 0.17,
    "Pleural Effusion": 0.20,
    "Pneumothorax": 0.17,
    "Support Devices": 0.25,
}
_THRESHOLDS = {name: NormalDist().inv_cdf(1 - share) for name, share in PREVALENCE.items()}
_LOADINGS = {"Cardiomegaly": 0.45, "Edema": 0.45, "Pleural Effusion": 0.45, "Support Devices": 0.25}
_PERSISTENCE = 0.35
_KINDS = {"patient": 1, "study": 2, "film": 3, "report": 4, "ids": 5}
SEVERITIES = ("mild", "moderate", "severe")


@dataclass(frozen=True)
class Finding:
    """One planted finding of one study.

    Args:
        name: CheXpert label.
        side: "left", "right", "bilateral" or "" where sides have no meaning.
        zone: "upper", "mid", "lower" or "".
        severity: From 0 (mildest) to 1.
        key: Seed of its shape, the same in every film of the study.
    """

    name: str
    side: str
    zone: str
    severity: float
    key: int

    @property
    def grade(self) -> str:
        """The severity in words."""
        return SEVERITIES[min(2, int(self.severity * 3))]

    @property
    def sides(self) -> tuple[str, ...]:
        """The lungs that it touches."""
        return ("right", "left") if self.side == "bilateral" else (self.side,)


@dataclass(frozen=True)
class Film:
    """One image: its name, its view and the seed of pose, exposure and noise."""

    dicom_id: str
    view: str
    key: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """One examination: what is there, and the films taken of it."""

    study_id: int
    number: int
    date: str
    time: str
    findings: tuple[Finding, ...]
    films: tuple[Film, ...]


@dataclass(frozen=True)
class Patient:
    """One person: anatomy, split and studies."""

    index: int
    subject_id: int
    split: str
    anatomy: dict[str, float]
    studies: tuple[Study, ...] = field(default_factory=tuple)


def generator(config: PhantomConfig, kind: str, *numbers: int) -> np.random.Generator:
    """The generator of one thing."""
    return np.random.default_rng([config.seed, _KINDS[kind], *numbers])


def _hexadecimal(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


def dicom_name(seed: int, patient: int, study: int, film: int) -> str:
    """An image name in MIMIC's style: five groups of eight hexadecimal digits."""
    digits = _hexadecimal("film", seed, patient, study, film)
    return "-".join(digits[i : i + 8] for i in range(0, 40, 8))


def draw_anatomy(rng: np.random.Generator) -> dict[str, float]:
    """The proportions of one person, in halves of the film's short side."""
    u = rng.uniform
    return {
        "wall": u(0.66, 0.82),
        "apex": u(-0.86, -0.74),
        "base": u(0.40, 0.60),
        "dome_right": u(-0.10, 0.04),
        "dome_left": u(-0.06, 0.10),
        "bend": u(0.55, 1.1),
        "mediastinum": u(0.10, 0.16),
        "heart": u(0.36, 0.46),
        "heart_tall": u(0.80, 1.15),
        "heart_shift": u(0.05, 0.14),
        "knob": u(0.06, 0.10),
        "rib_gap": u(0.15, 0.19),
        "rib_slope": u(0.12, 0.30),
        "rib_phase": u(0.0, 1.0),
        "rib_weight": u(0.05, 0.10),
        "clavicle": u(-0.72, -0.60),
        "clavicle_tilt": u(-0.28, -0.05),
        "shoulder": u(0.85, 1.05),
        "flesh": u(0.10, 0.26),
        "breast": u(0.0, 0.09),
        "vessel": u(0.07, 0.13),
        "key": float(rng.integers(2**31)),
    }


def draw_findings(rng: np.random.Generator, patient: dict[str, float], common: float) -> tuple[Finding, ...]:
    """The findings of one study: a liability per finding, partly the patient's own, partly shared."""
    found = []
    old, new = math.sqrt(_PERSISTENCE), math.sqrt(1 - _PERSISTENCE)
    # Every draw is made whether or not a finding is there: findings do not shift each other's draws.
    shared, *fresh = rng.standard_normal(1 + len(FINDINGS)).tolist()
    chances = rng.random((len(FINDINGS), 4)).tolist()
    keys = rng.integers(2**31, size=len(FINDINGS)).tolist()
    shared = old * common + new * shared
    for name, own, (flip, both, place, severity), key in zip(FINDINGS, fresh, chances, keys, strict=True):
        load = _LOADINGS.get(name, 0.0)
        liability = load * shared + math.sqrt(1 - load**2) * (old * patient[name] + new * own)
        if liability < _THRESHOLDS[name]:
            continue
        side = "left" if flip < 0.5 else "right"
        zone = ""
        if name in ("Cardiomegaly", "Support Devices"):
            side = ""
        elif name == "Edema":
            side = "bilateral"
        elif name == "Pleural Effusion":
            side, zone = ("bilateral" if both < 0.25 else side), "lower"
        elif name == "Pneumothorax":
            zone = "upper"
        elif name == "Atelectasis":
            side, zone = ("bilateral" if both < 0.2 else side), ("lower" if place < 0.7 else "mid")
        else:
            zone = ("upper", "mid", "lower")[int(place * 3)]
        found.append(Finding(name, side, zone, severity, key))
    return tuple(found)


def draw_patient(config: PhantomConfig, index: int) -> Patient:
    """Everything about one patient but the pixels and the words."""
    rng = generator(config, "patient", index)
    anatomy = draw_anatomy(rng)
    chance = rng.random()
    split = "test" if chance < config.test_share else "validate"
    split = split if chance < config.test_share + config.validate_share else "train"
    common, *rest = rng.standard_normal(1 + len(FINDINGS)).tolist()
    own = dict(zip(FINDINGS, rest, strict=True))
    count = 1 + int(rng.integers(config.studies_max))
    day = date(2110, 1, 1) + timedelta(days=int(rng.integers(30_000)))
    jitter = int(_hexadecimal("subject", config.seed, index), 16)
    studies = []
    for number in range(count):
        rng = generator(config, "study", index, number)
        findings = draw_findings(rng, own, common)
        views = ["AP" if rng.random() < config.portable else "PA"]
        if rng.random() < config.lateral:
            views.append("LATERAL")
        day += timedelta(days=int(rng.integers(1, 400)))
        clock = rng.integers([24, 60, 60, 1000])
        films = tuple(
            Film(dicom_name(config.seed, index, number, film), view, (index, number, film))
            for film, view in enumerate(views)
        )
        # Strides leave room for 8 studies a patient; the jitter keeps ids from counting.
        noise = int(_hexadecimal("study", config.seed, index, number), 16) % 16
        study_id = 50_000_414 + index * 137 + number * 16 + noise
        studies.append(
            Study(
                study_id,
                number,
                f"{day:%Y%m%d}",
                f"{clock[0]:02d}{clock[1]:02d}{clock[2]:02d}.{clock[3]:03d}",
                findings,
                films,
            )
        )
    return Patient(index, 10_000_032 + index * 137 + jitter % 100, split, anatomy, tuple(studies))
