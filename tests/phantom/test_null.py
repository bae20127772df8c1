"""Null archives know nothing of the films, at the rates of the true ones."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Bool
from scipy.stats import fisher_exact

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import draw_patient
from neuroconcepts_ray.phantom.labeller import label_report
from neuroconcepts_ray.phantom.mentions import LABELS
from neuroconcepts_ray.phantom.null import archived_labels, archived_text, stranger
from neuroconcepts_ray.phantom.reports import write_report
from neuroconcepts_ray.phantom.twins import FIRST, TOGGLED
from neuroconcepts_ray.phantom.world import FINDINGS
from neuroconcepts_ray.stats import patient_bootstrap

TRUE = PhantomConfig(seed=6, patients=150)
RANDOM = TRUE.model_copy(update={"labels": "random"})
INDEPENDENT = TRUE.model_copy(update={"reports": "independent"})
PATIENTS = [draw_patient(TRUE, index) for index in range(TRUE.patients)]
STUDIES = [(patient, study) for patient in PATIENTS for study in patient.studies]
GROUPS = np.array([patient.index for patient, _ in STUDIES])
PLANTED = np.array([[name in {f.name for f in study.findings} for name in FINDINGS] for _, study in STUDIES])


def told(found: list[dict[str, float]]) -> Bool[np.ndarray, "n f"]:
    return np.array([[labels.get(name) == 1.0 for name in FINDINGS] for labels in found])


TABLES = [archived_labels(TRUE, *row) for row in STUDIES]
READ = {
    "true": told([table["chexpert"] for table in TABLES]),
    "random labels": told([archived_labels(RANDOM, *row)["chexpert"] for row in STUDIES]),
    "independent reports": told([label_report(archived_text(INDEPENDENT, *row)) for row in STUDIES]),
}


def area(told: Bool[np.ndarray, " n"], there: Bool[np.ndarray, " n"]) -> float:
    """The AUROC of a label that is told or not: (1 + sensitivity - false alarms) / 2."""
    return float(1 + told[there].mean() - told[~there].mean()) / 2


@pytest.mark.parametrize("null", ["random labels", "independent reports"])
def test_what_a_null_archive_tells_is_independent_of_the_films(null: str) -> None:
    covered = []
    for column in range(len(FINDINGS)):
        score, y = READ[null][:, column], PLANTED[:, column]
        low, high = patient_bootstrap(lambda rows, s=score, y=y: area(s[rows], y[rows]), GROUPS, draws=150, seed=column)
        covered.append(low <= 0.5 <= high)
        assert abs(area(score, y) - 0.5) < 0.12
        assert area(READ["true"][:, column], y) > 0.85
    assert sum(covered) >= len(FINDINGS) - 2


@pytest.mark.parametrize("null", ["random labels", "independent reports"])
def test_rates_are_those_of_the_true_archive(null: str) -> None:
    n = len(STUDIES)
    for column in range(len(FINDINGS)):
        table = [[int(k := READ[which][:, column].sum()), n - int(k)] for which in ("true", null)]
        assert fisher_exact(table).pvalue > 1e-3
    assert 0.05 < READ[null].mean() < 0.2


def test_independent_reports_compare_as_often_as_the_true_ones() -> None:
    def compares(config: PhantomConfig) -> list[bool]:
        return ["COMPARISON:  None." not in archived_text(config, *row) for row in STUDIES]

    assert compares(INDEPENDENT) == compares(TRUE) == [study.number > 0 for _, study in STUDIES]


def test_each_study_draws_its_labels_apart_even_those_of_one_patient() -> None:
    pairs = [
        (a, b) for a, b in zip(range(len(STUDIES)), range(1, len(STUDIES)), strict=False) if GROUPS[a] == GROUPS[b]
    ]
    first, second = np.array(pairs).T
    alike = {which: np.mean(np.all(READ[which][first] == READ[which][second], axis=1)) for which in READ}
    assert alike["random labels"] < alike["true"]
    persons = {stranger(RANDOM, *row, "labels")[0].index for row in STUDIES}
    assert len(persons) == len(STUDIES)


def test_strangers_are_in_no_archive_and_no_two_nulls_share_one() -> None:
    first, last = (replace(PATIENTS[0], index=index) for index in (0, 249_999))
    study = replace(PATIENTS[0].studies[0], number=7)
    numbers = [
        stranger(TRUE.model_copy(update={"studies_max": 8}), patient, study, purpose)[0].index % 10_000_000
        for purpose in ("labels", "reports")
        for patient in (first, last)
    ]
    # The config's greatest numbers: first 180,000 and patients 70,000; 1,000 twins a factor.
    assert min(numbers) > FIRST + 1_000 * len(TOGGLED)
    assert numbers == sorted(set(numbers))


def test_random_labels_leave_the_reports_and_independent_reports_leave_the_labels() -> None:
    for row in STUDIES[:40]:
        assert archived_text(RANDOM, *row) == write_report(TRUE, *row).text == archived_text(TRUE, *row)
        assert archived_labels(INDEPENDENT, *row) == archived_labels(TRUE, *row)
        assert f"EXAMINATION:  CHEST ({'PA AND LAT' if len(row[1].films) > 1 else row[1].films[0].view})" in (
            archived_text(INDEPENDENT, *row)
        )
    assert sum(archived_text(INDEPENDENT, *row) != archived_text(TRUE, *row) for row in STUDIES[:40]) == 40


def test_the_same_config_gives_the_same_null() -> None:
    for row in STUDIES[:10]:
        assert archived_labels(RANDOM, *row) == archived_labels(RANDOM.model_copy(), *row)
        assert archived_text(INDEPENDENT, *row) == archived_text(INDEPENDENT.model_copy(), *row)


def test_both_tables_hold_labels_of_chexpert_in_their_order() -> None:
    assert all(list(table) == ["chexpert", "negbio"] for table in TABLES)
    for table in TABLES:
        for found in table.values():
            assert list(found) == [label for label in LABELS if label in found]
            assert set(found.values()) <= {1.0, 0.0, -1.0}
    cells = [(t["chexpert"].get(name), t["negbio"].get(name)) for t in TABLES for name in FINDINGS]
    differ = [pair for pair in cells if pair[0] != pair[1]]
    assert 0 < len(differ) < 0.02 * len(cells)
    assert all(-1.0 in pair for pair in differ)
