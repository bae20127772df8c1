"""Reports and labels say the same, and the lexicon knows the grammar's own words."""

import re
from collections import Counter

import pytest

from neuroconcepts_ray.catalog.sections import cut
from neuroconcepts_ray.naming.text import terms
from neuroconcepts_ray.phantom import reports
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import FINDINGS, draw_patient
from neuroconcepts_ray.phantom.reports import LABELS, denotes, write_report

CONFIG = PhantomConfig(patients=400)
DENIAL = re.compile(r"\b(no|not|without|normal)\b", re.IGNORECASE)
DOUBT = re.compile(r"\b(possible|may|cannot|questionable)\b", re.IGNORECASE)


def sentences(text: str) -> list[str]:
    body = re.split(r"FINDINGS:|IMPRESSION:", text, maxsplit=1)[1].replace("IMPRESSION:", "")
    return [" ".join(s.split()) for s in body.split(".") if s.strip()]


def studies() -> list[tuple[dict[str, float], list[str], set[str], str]]:
    out = []
    for index in range(CONFIG.patients):
        patient = draw_patient(CONFIG, index)
        for study in patient.studies:
            report = write_report(CONFIG, patient, study)
            out.append((report.labels, sentences(report.text), {f.name for f in study.findings}, report.text))
    return out


STUDIES = studies()


@pytest.mark.parametrize("name", FINDINGS)
def test_what_is_affirmed_denied_and_suspected_is_what_the_labels_say(name: str) -> None:
    seen: Counter[float | None] = Counter()
    for labels, lines, _, _ in STUDIES:
        about = [line for line in lines if name in denotes(line)]
        denied = [bool(DENIAL.search(line)) for line in about if not DOUBT.search(line)]
        doubted = [line for line in about if DOUBT.search(line)]
        label = labels.get(name)
        seen[label] += 1
        if label == 1.0:
            assert about
            assert not any(denied)
            assert not doubted
        elif label == 0.0:
            assert about
            assert all(denied)
        elif label == -1.0:
            assert doubted
            assert not denied
        else:
            assert not about
    assert seen[1.0] > 50
    assert seen[0.0] > 50
    assert seen[-1.0] < 0.03 * len(STUDIES)


def test_labels_are_the_truth_but_for_few_doubts_and_omissions() -> None:
    wrong = total = 0
    for labels, _, there, _ in STUDIES:
        for name in FINDINGS:
            assert not (labels.get(name) == 1.0 and name not in there)
            total += name in there
            wrong += name in there and labels.get(name) != 1.0
    assert wrong / total < 0.06


def test_no_finding_means_nothing_affirmed_or_suspected_but_devices() -> None:
    for labels, _, _, _ in STUDIES:
        told = any(value != 0.0 for name, value in labels.items() if name not in ("Support Devices", "No Finding"))
        assert (labels.get("No Finding") == 1.0) is not told


def test_every_report_has_its_sections_and_some_have_an_impression_only() -> None:
    texts = [text for _, _, _, text in STUDIES]
    assert all("FINAL REPORT" in text and " IMPRESSION: " in text for text in texts)
    assert 0.05 < sum("FINDINGS:" not in text for text in texts) / len(texts) < 0.3
    assert len(set(texts)) > 0.9 * len(texts)


def test_labels_are_among_the_fourteen_of_chexpert() -> None:
    assert list(LABELS) == sorted(LABELS)
    assert len(LABELS) == 14
    assert set(FINDINGS) <= set(LABELS)
    assert all(set(labels) <= set(LABELS) for labels, _, _, _ in STUDIES)


@pytest.mark.parametrize("name", FINDINGS)
def test_every_affirmation_denotes_its_finding_and_no_other(name: str) -> None:
    for template in reports._AFFIRMED[name]:
        assert denotes(template) == {name: True}


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        ("pleural effusion", "Pleural Effusion"),
        ("heart enlarged", "Cardiomegaly"),
        ("blunting costophrenic angle", "Pleural Effusion"),
        ("Lung nodule", "Lung Lesion"),
        ("lungs are clear", "No Finding"),
    ],
)
def test_n_grams_denote_findings(words: str, finding: str) -> None:
    assert denotes(words) == {finding: True}


@pytest.mark.parametrize("words", ["left", "mild", "bony thorax", "heart size", ""])
def test_words_of_no_finding_denote_nothing(words: str) -> None:
    assert denotes(words) == {}


def test_a_normal_heart_denotes_the_absence_of_cardiomegaly() -> None:
    assert denotes("heart normal") == {"Cardiomegaly": False}
    assert denotes("acute cardiopulmonary process") == {"No Finding": False}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Atelectasis", "atelectasis"),
        ("Cardiomegaly", "cardiomegaly"),
        ("Consolidation", "consolidation"),
        ("Edema", "edema"),
        ("Lung Lesion", "nodule"),
        ("Pleural Effusion", "effusion"),
        ("Pneumothorax", "pneumothorax"),
    ],
)
def test_the_reader_that_names_neurons_understands_the_reports(name: str, word: str) -> None:
    meant = {"affirmed": 1.0, "negated": 0.0, "uncertain": -1.0}
    read = [
        (meant[found[word]], labels.get(name))
        for labels, _, _, text in STUDIES
        if word in (found := terms(cut(text).observations))
    ]
    assert len(read) > 50
    assert all(polarity == label for polarity, label in read)
