"""What is drawn obeys its config: prevalences, common causes, confounds, ties, each within its binomial's bounds."""

from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import binomtest, multivariate_normal

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import Patient, draw_patient, thresholds
from neuroconcepts_ray.phantom.world import FINDINGS, RACES, SHORTCUTS, UNREPORTED, UNSEEN, draw_world

# One study each, so that all are independent.
PLAIN = PhantomConfig(seed=21, patients=1500, studies_max=1, confounds=0.0, shortcuts=0.6, text=0.2, lateral=0.0)
CONFOUNDED = PLAIN.model_copy(update={"seed": 22, "confounds": 0.7, "shortcuts": -0.8, "patients": 1200})
LEAST = 1e-3
"""Chance below which a figure does not come from its config; the draws are fixed, so what passes once passes always."""


@cache
def patients(config: PhantomConfig) -> list[Patient]:
    return [draw_patient(config, index) for index in range(config.patients)]


def there(config: PhantomConfig, name: str) -> list[bool]:
    studies = [patient.studies[0] for patient in patients(config)]
    return [name in study.others or any(f.name == name for f in study.findings) for study in studies]


def fits(found: list[bool], share: float) -> bool:
    return bool(binomtest(sum(found), len(found), share).pvalue > LEAST)


@pytest.mark.parametrize("name", (*FINDINGS, *UNSEEN, *(name for name in UNREPORTED if name != "Aortic Calcification")))
def test_prevalences_are_those_of_the_world(name: str) -> None:
    assert fits(there(PLAIN, name), draw_world(PLAIN.seed).prevalence[name])


def test_the_aorta_calcifies_with_age() -> None:
    found = there(PLAIN, "Aortic Calcification")
    old = [is_there for patient, is_there in zip(patients(PLAIN), found, strict=True) if patient.age >= 70]
    young = [is_there for patient, is_there in zip(patients(PLAIN), found, strict=True) if patient.age < 45]
    assert np.mean(old) > 2 * np.mean(young)


@pytest.mark.parametrize(
    "pair",
    [
        ("Cardiomegaly", "Edema"),
        ("Cardiomegaly", "Pleural Effusion"),
        ("Edema", "Pleural Effusion"),
        ("Support Devices", "Edema"),
        ("Pneumothorax", "Edema"),
        ("Lung Lesion", "Consolidation"),
    ],
)
def test_findings_go_together_as_their_loadings_say(pair: tuple[str, str]) -> None:
    world = draw_world(PLAIN.seed)
    limits, r = thresholds(world), np.prod([world.loadings.get(name, 0.0) for name in pair])
    both = multivariate_normal(cov=[[1.0, r], [r, 1.0]]).cdf([-limits[name] for name in pair])
    assert fits([a and b for a, b in zip(*(there(PLAIN, name) for name in pair), strict=True)], float(both))


@pytest.mark.parametrize("cause", ["age", "sex", "race"])
def test_age_sex_and_race_move_the_finding_that_they_confound_and_that_alone(cause: str) -> None:
    world, move = draw_world(CONFOUNDED.seed), CONFOUNDED.confounds
    name = world.confounds[cause]
    limit = thresholds(world)[name]
    people, found = patients(CONFOUNDED), there(CONFOUNDED, name)
    parts = {
        "sex": [(lambda p: p.sex == "female", 1.0), (lambda p: p.sex == "male", -1.0)],
        "race": [(lambda p: p.race == RACES[0], 1.4), (lambda p: p.race != RACES[0], -0.7)],
        "age": [(lambda p: 40 <= p.age < 50, (44.5 - 57) / 18.8), (lambda p: 70 <= p.age < 80, (74.5 - 57) / 18.8)],
    }[cause]
    for belongs, shift in parts:
        part = [is_there for person, is_there in zip(people, found, strict=True) if belongs(person)]
        assert len(part) > 100
        assert fits(part, 1 - NormalDist().cdf(limit - move * shift))
    others = [name for name in FINDINGS if name not in world.confounds.values()]
    first = np.array([parts[0][0](person) for person in people])
    for other in others:
        assert fits(
            [x for x, is_in in zip(there(CONFOUNDED, other), first, strict=True) if is_in], world.prevalence[other]
        )


@pytest.mark.parametrize("config", [PLAIN, CONFOUNDED], ids=["tied", "reversed"])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
def test_each_artefact_follows_its_finding_as_firmly_as_configured(config: PhantomConfig, shortcut: str) -> None:
    with_it = list(zip(there(config, shortcut), there(config, draw_world(config.seed).ties[shortcut]), strict=True))
    assert fits([on for on, sick in with_it if sick], (1 + config.shortcuts) / 2)
    assert fits([on for on, sick in with_it if not sick], (1 - config.shortcuts) / 2)


def test_shares_of_views_texts_and_splits_are_those_configured() -> None:
    films = [film for patient in patients(PLAIN) for film in patient.studies[0].films]
    assert fits([film.view == "AP" for film in films], PLAIN.portable)
    assert fits([film.text for film in films], PLAIN.text)
    splits = [patient.split for patient in patients(PLAIN)]
    assert fits([split == "test" for split in splits], PLAIN.test_share)
    assert fits([split == "validate" for split in splits], PLAIN.validate_share)


def test_sex_and_race_are_drawn_evenly() -> None:
    assert fits([patient.sex == "female" for patient in patients(PLAIN)], 0.5)
    for race in RACES:
        assert fits([patient.race == race for patient in patients(PLAIN)], 1 / len(RACES))


def test_three_findings_are_confounded_and_four_others_tied() -> None:
    for seed in range(20):
        world = draw_world(seed)
        assert len({*world.confounds.values(), *world.ties.values()}) == 7


def test_findings_last_from_study_to_study() -> None:
    config = PhantomConfig(seed=23, patients=400, confounds=0.0)
    pairs = [
        (f.name in {x.name for x in study.earlier}, f.name)
        for index in range(config.patients)
        for study in draw_patient(config, index).studies
        if study.earlier is not None
        for f in study.findings
    ]
    # A finding is there again more often than anew.
    again = np.mean([before for before, _ in pairs])
    assert len(pairs) > 400
    assert again > 1.5 * np.mean(list(draw_world(config.seed).prevalence.values()))
