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
from neuroconcepts_ray.phantom.world import DEVICES, FINDINGS, MARGINS, RACES, SHORTCUTS, UNREPORTED, World, draw_world

_PERSISTENCE = 0.35
_KINDS = {"patient": 1, "study": 2, "film": 3, "report": 4, "artefacts": 6, "null": 7}
SEVERITIES = ("mild", "moderate", "severe")
_SIDELESS = ("Cardiomegaly", "Enlarged Cardiomediastinum", "Support Devices")


@dataclass(frozen=True)
class Finding:
    """One planted finding of one study.

    Args:
        name: CheXpert label.
        side: "left", "right", "bilateral" or "" where sides have no meaning.
        zone: "upper", "mid", "lower" or "".
        severity: From 0 (mildest) to 1: how dense it is.
        key: Seed of its shape, the same in every film of an episode.
        size: From 0 (smallest) to 1: how far it reaches.
        margin: A lesion's rim: "smooth" or "spiculated"; "" of other findings.
        devices: Which of :data:`~neuroconcepts_ray.phantom.world.DEVICES` lie there; of Support Devices alone.
    """

    name: str
    side: str
    zone: str
    severity: float
    key: int
    size: float = 0.5
    margin: str = ""
    devices: tuple[str, ...] = ()

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
    """One image: its name, its view, the seed of pose, exposure and noise, and whether text is burned in."""

    dicom_id: str
    view: str
    key: tuple[int, ...]
    text: bool = False


@dataclass(frozen=True)
class Study:
    """One examination: what is there, and the films taken of it.

    Args:
        others: What is there beside findings: names of :data:`~neuroconcepts_ray.phantom.world.UNSEEN`,
            ``UNREPORTED`` and ``SHORTCUTS``.
        earlier: The findings of the study before; None in a patient's first.
    """

    study_id: int
    number: int
    date: str
    time: str
    findings: tuple[Finding, ...]
    films: tuple[Film, ...]
    others: frozenset[str] = frozenset()
    earlier: tuple[Finding, ...] | None = None

    @property
    def site(self) -> str:
        """Where it was taken: site B leaves its border on the film."""
        return "B" if "Border" in self.others else "A"


@dataclass(frozen=True)
class Patient:
    """One person: anatomy, age, sex, race, split and studies."""

    index: int
    subject_id: int
    split: str
    anatomy: dict[str, float]
    studies: tuple[Study, ...] = field(default_factory=tuple)
    age: int = 60
    sex: str = "female"
    race: str = "white"


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


def thresholds(world: World) -> dict[str, float]:
    """Liability above which a thing is there."""
    return {name: NormalDist().inv_cdf(1 - share) for name, share in world.prevalence.items()}


def draw_findings(
    rng: np.random.Generator,
    world: World,
    own: dict[str, float],
    common: float,
    shift: dict[str, float],
    earlier: tuple[Finding, ...] | None,
) -> tuple[Finding, ...]:
    """The findings of one study: a liability per finding, partly the patient's own, partly shared.

    A finding that the study before had goes on where it was, and has grown or shrunk.

    Args:
        rng: The study's generator.
        world: Prevalences and loadings.
        own: The patient's part of each liability.
        common: The patient's part of the common liability.
        shift: Finding → what age, sex and race add.
        earlier: Findings of the study before.
    """
    found = []
    old, new = math.sqrt(_PERSISTENCE), math.sqrt(1 - _PERSISTENCE)
    # Every draw is made whether or not a finding is there: findings do not shift each other's draws.
    shared, *fresh = rng.standard_normal(1 + len(FINDINGS)).tolist()
    chances = rng.random((len(FINDINGS), 9)).tolist()
    keys = rng.integers(2**31, size=len(FINDINGS)).tolist()
    shared = old * common + new * shared
    limits = thresholds(world)
    before = {finding.name: finding for finding in earlier or ()}
    for name, draw, chance, key in zip(FINDINGS, fresh, chances, keys, strict=True):
        load = world.loadings.get(name, 0.0)
        liability = load * shared + math.sqrt(1 - load**2) * (old * own[name] + new * draw)
        if liability + shift.get(name, 0.0) < limits[name]:
            continue
        found.append(place(name, chance, key, before.get(name)))
    return tuple(found)


def place(name: str, chance: list[float], key: int, before: Finding | None = None) -> Finding:
    """A finding with its side, zone, severity and size; one that was there before has moved on.

    Args:
        name: CheXpert label.
        chance: Nine numbers from 0 to 1, as drawn.
        key: Seed of its shape.
        before: The same finding in the study before.
    """
    flip, both, place, severity, size, rim, *devices = chance
    if before is not None:  # The severity walks on; what the radiologist compares is this step.
        moved = min(1.0, max(0.0, before.severity + 0.9 * (severity - 0.5)))
        grown = min(1.0, max(0.0, before.size + 0.9 * (size - 0.5)))
        return Finding(name, before.side, before.zone, moved, before.key, grown, before.margin, before.devices)
    side, zone, margin = "left" if flip < 0.5 else "right", "", ""
    lie: tuple[str, ...] = ()
    if name in _SIDELESS:
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
    if name == "Lung Lesion":
        margin = MARGINS[int(rim < 0.5)]
    if name == "Support Devices":
        first = int(devices[0] * len(DEVICES))
        second = (first + 1 + int(devices[1] * (len(DEVICES) - 1))) % len(DEVICES)
        lie = tuple(sorted({DEVICES[first]} | ({DEVICES[second]} if devices[2] < 0.5 else set())))
    return Finding(name, side, zone, severity, key, size, margin, lie)


def draw_others(
    rng: np.random.Generator,
    config: PhantomConfig,
    world: World,
    findings: tuple[Finding, ...],
    lasting: frozenset[str],
) -> frozenset[str]:
    """What else is there: what lasts with the patient, a pneumonia that no film shows, and artefacts by their ties."""
    there = {finding.name for finding in findings}
    others = set(lasting)
    chances = rng.random(1 + len(SHORTCUTS)).tolist()
    if chances[0] < world.prevalence["Pneumonia"]:
        others.add("Pneumonia")
    for name, chance in zip(SHORTCUTS, chances[1:], strict=True):
        sign = 1 if world.ties[name] in there else -1
        if chance < (1 + sign * config.shortcuts) / 2:
            others.add(name)
    return frozenset(others)


def draw_patient(config: PhantomConfig, index: int) -> Patient:
    """Everything about one patient but the pixels and the words."""
    world = draw_world(config.seed)
    rng = generator(config, "patient", index)
    anatomy = draw_anatomy(rng)
    chance = rng.random()
    split = "test" if chance < config.test_share else "validate"
    split = split if chance < config.test_share + config.validate_share else "train"
    common, *rest = rng.standard_normal(1 + len(FINDINGS)).tolist()
    own = dict(zip(FINDINGS, rest, strict=True))
    count = 1 + int(rng.integers(config.studies_max))
    day = date(2110, 1, 1) + timedelta(days=int(rng.integers(30_000)))
    age, female, race = int(rng.integers(25, 90)), bool(rng.random() < 0.5), RACES[int(rng.integers(len(RACES)))]
    standard = {"age": (age - 57) / 18.8, "sex": 1.0 if female else -1.0, "race": 1.4 if race == RACES[0] else -0.7}
    shift = {world.confounds[name]: config.confounds * value for name, value in standard.items()}
    lasting = _lasting(rng, world, standard["age"])
    studies: list[Study] = []
    for number in range(count):
        rng = generator(config, "study", index, number)
        earlier = studies[-1].findings if studies else None
        findings = draw_findings(rng, world, own, common, shift, earlier)
        views = ["AP" if rng.random() < config.portable else "PA"]
        if rng.random() < config.lateral:
            views.append("LATERAL")
        day += timedelta(days=int(rng.integers(1, 400)))
        clock = rng.integers([24, 60, 60, 1000])
        artefacts = generator(config, "artefacts", index, number)
        others = draw_others(artefacts, config, world, findings, lasting)
        written = artefacts.random(2) < config.text
        films = tuple(
            Film(dicom_name(config.seed, index, number, film), view, (index, number, film), bool(written[film]))
            for film, view in enumerate(views)
        )
        # Strides leave room for 8 studies a patient; the jitter keeps ids from counting.
        noise = int(_hexadecimal("study", config.seed, index, number), 16) % 16
        study_id = 50_000_414 + index * 137 + number * 16 + noise
        time = f"{clock[0]:02d}{clock[1]:02d}{clock[2]:02d}.{clock[3]:03d}"
        studies.append(Study(study_id, number, f"{day:%Y%m%d}", time, findings, films, others, earlier))
    subject_id = 10_000_032 + index * 137 + int(_hexadecimal("subject", config.seed, index), 16) % 100
    return Patient(index, subject_id, split, anatomy, tuple(studies), age, "female" if female else "male", race)


def _lasting(rng: np.random.Generator, world: World, age: float) -> frozenset[str]:
    limits = thresholds(world)
    drawn = dict(zip((*UNREPORTED, "Osteopenia"), rng.standard_normal(len(UNREPORTED) + 1).tolist(), strict=True))
    # Calcium comes with age, so that age too is on the film.
    drawn["Aortic Calcification"] = 0.8 * drawn["Aortic Calcification"] + 0.6 * age
    return frozenset(name for name, liability in drawn.items() if liability > limits[name])
