"""Reports tell what is planted as configured, in the words of their world, and of nothing that they must not tell."""

import re
from collections import Counter
from dataclasses import replace

import pytest
from scipy.stats import binomtest

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import Finding, Patient, Study, draw_patient, generator
from neuroconcepts_ray.phantom.labeller import sentences
from neuroconcepts_ray.phantom.meaning import denotes
from neuroconcepts_ray.phantom.mentions import LABELS
from neuroconcepts_ray.phantom.reports import REPORTED, Report, draw_intentions, write_report
from neuroconcepts_ray.phantom.speech import change
from neuroconcepts_ray.phantom.wordings import DEGREES, FRAMES, SIZES, UNUSUAL, WORDINGS
from neuroconcepts_ray.phantom.world import FINDINGS

SEEDS = (4, 5)
DENIAL = re.compile(r"\b(no|not|without|normal|negative for|free of|resolved|resolution|removed|removal)\b")
DOUBT = re.compile(r"\b(possible|may|cannot|questionable|suspected|probable)\b")
NO_DENIAL = re.compile(r"not significantly changed|without significant change")
COMPARED = {
    "new": re.compile(r"\bnew\b"),
    "unchanged": re.compile(r"\b(unchanged|stable|persistent|similar|not significantly|without significant)\b"),
    "increased": re.compile(r"\b(increas\w+|worsening|worse)\b"),
    "decreased": re.compile(r"\b(decreas\w+|improv\w+)\b"),
    "gone": re.compile(r"\b(resolved|resolution|no longer|removed|removal)\b"),
}
ONE = Finding("Pleural Effusion", "left", "lower", 0.5, 1, 0.5)


def lines(text: str) -> list[str]:
    return sentences(re.split(r"FINDINGS:|IMPRESSION:", text, maxsplit=1)[1].replace("IMPRESSION:", "\n\n"))


def written(seed: int, patients: int = 130) -> list[tuple[Patient, Study, Report]]:
    config = PhantomConfig(seed=seed)
    drawn = (draw_patient(config, index) for index in range(patients))
    return [(patient, study, write_report(config, patient, study)) for patient in drawn for study in patient.studies]


STUDIES = [row for seed in SEEDS for row in written(seed)]
TOLD = [(study, report, [(line, denotes(line)) for line in lines(report.text)]) for _, study, report in STUDIES]


@pytest.mark.parametrize("name", [name for name in REPORTED if name in LABELS])
def test_what_is_affirmed_denied_and_suspected_is_what_is_intended(name: str) -> None:
    seen: Counter[float | None] = Counter()
    for _, report, told in TOLD:
        about = [line for line, said in told if name in said]
        doubted = [line for line in about if DOUBT.search(line)]
        denied = [line for line in about if DENIAL.search(NO_DENIAL.sub("", line)) and line not in doubted]
        intended = report.intended.get(name)
        seen[intended] += 1
        if intended == 1.0:
            assert about
            assert not denied
            assert not doubted
        elif intended == 0.0:
            assert about == denied
            assert about
        elif intended == -1.0:
            assert doubted == about
            assert about
        else:
            assert not about
    assert min(seen[1.0], seen[0.0]) > 25
    assert sum(seen.values()) == len(STUDIES)


def test_no_finding_means_nothing_affirmed_or_suspected_but_devices() -> None:
    for _, report, _ in TOLD:
        told = any(v != 0.0 for name, v in report.intended.items() if name not in ("Support Devices", "No Finding"))
        assert (report.intended.get("No Finding") == 1.0) is not told


@pytest.mark.parametrize("name", REPORTED)
def test_omissions_doubts_and_denials_come_as_often_as_configured(name: str) -> None:
    config = PhantomConfig(omitted=0.2, uncertain=0.1, negated=0.4)
    there, absent = replace(STUDIES[0][1], others=frozenset({name})), replace(STUDIES[0][1], others=frozenset())
    there = replace(there, findings=(replace(ONE, name=name),) if name in FINDINGS else ())
    absent = replace(absent, findings=())
    n = 600
    rng = generator(config, "report", 1, list(REPORTED).index(name))
    present = Counter(draw_intentions(rng, config, there).get(name) for _ in range(n))
    gone = Counter(draw_intentions(rng, config, absent).get(name) for _ in range(n))
    shares = {(True, None): 0.2, (True, -1.0): 0.1, (True, 1.0): 0.7}
    if name != "Osteopenia":
        shares |= {(False, 0.0): 0.4, (False, -1.0): 0.1 / 8}
    for (is_there, value), share in shares.items():
        assert binomtest((present if is_there else gone)[value], n, share).pvalue > 1e-3
    assert present[0.0] == gone[1.0] == 0


def test_the_default_omits_every_tenth_present_finding() -> None:
    told = [report.intended.get(f.name) for _, study, report in STUDIES for f in study.findings]
    config = PhantomConfig()
    assert binomtest(told.count(None), len(told), config.omitted).pvalue > 1e-3
    assert binomtest(told.count(-1.0), len(told), config.uncertain).pvalue > 1e-3
    assert told.count(0.0) == 0


def test_pneumonia_is_told_where_it_was_diagnosed_though_no_film_shows_it() -> None:
    told = [report.intended.get("Pneumonia") == 1.0 for _, study, report in STUDIES if "Pneumonia" in study.others]
    assert sum(told) > 0.7 * len(told) > 20
    others = [report for _, study, report in STUDIES if "Pneumonia" not in study.others]
    assert not any(report.intended.get("Pneumonia") == 1.0 for report in others)


def test_osteopenia_has_words_and_no_label() -> None:
    assert "Osteopenia" not in LABELS
    said = [(any("Osteopenia" in words for _, words in told), "Osteopenia" in study.others) for study, _, told in TOLD]
    assert sum(words and there for words, there in said) > 0.7 * sum(there for _, there in said) > 20
    assert not any(words and not there for words, there in said)


def test_nothing_is_ever_said_of_what_must_not_be_told() -> None:
    told = re.compile(r"scolio|curvature|aort|calci|hernia|hiat|tortuous|boxed|marker|drain|grain|border|artefact|site")
    pool = [str(wording) for options in WORDINGS.values() for wording in options]
    pool += [frame for frames in FRAMES.values() for frame in frames] + [str(wording) for wording in UNUSUAL.values()]
    assert not [text for text in pool if told.search(text.lower())]
    assert not [report.text for _, _, report in STUDIES if told.search(report.text.lower())]


def test_what_changed_is_told_as_it_changed() -> None:
    seen: Counter[str] = Counter()
    for study, _, told in TOLD:
        now = {finding.name: finding for finding in study.findings}
        before = {finding.name for finding in study.earlier or ()}
        for line, said in told:
            names = [name for name, there in said.items() if there and name in FINDINGS]
            for became, words in COMPARED.items():
                if not words.search(line) or not names or line.startswith("no new"):
                    continue
                seen[became] += 1
                assert study.earlier is not None
                if became == "gone":
                    assert all(name in before and name not in now for name in names)
                else:
                    assert all(change(now[name], study.earlier) == became for name in names), line
    assert min(seen[became] for became in COMPARED) > 10


def test_nothing_new_is_said_only_of_what_was_not_there() -> None:
    seen = 0
    for study, _, told in TOLD:
        before = {finding.name for finding in (*study.findings, *(study.earlier or ()))}
        for line, said in told:
            if line.startswith("no new"):
                seen += 1
                assert not before & set(said)
    assert seen > 5


@pytest.mark.parametrize(
    ("name", "severity", "size", "became"),
    [
        ("Pleural Effusion", 0.9, 0.5, "unchanged"),
        ("Pleural Effusion", 0.5, 0.9, "increased"),
        ("Edema", 0.9, 0.5, "increased"),
        ("Edema", 0.1, 0.5, "decreased"),
        ("Edema", 0.5, 0.9, "unchanged"),
        ("Fracture", 0.9, 0.9, "unchanged"),
        ("Support Devices", 0.1, 0.1, "unchanged"),
    ],
)
def test_change_is_of_size_or_severity_by_what_the_finding_is(
    name: str, severity: float, size: float, became: str
) -> None:
    finding = replace(ONE, name=name, severity=severity, size=size)
    assert change(finding, (replace(ONE, name=name),)) == became
    assert change(finding, ()) == "new"
    assert change(finding, None) == ""


def test_size_words_tell_the_size_and_degrees_the_severity() -> None:
    words = {word: (0, grade) for grade, pairs in DEGREES.items() for pair in pairs for word in pair}
    words |= {word: (1, grade) for grade, options in SIZES.items() for word in options}
    words = {word: meant for word, meant in words.items() if "moderate" not in word}
    bounds = {"mild": (0.0, 1 / 3), "moderate": (1 / 3, 2 / 3), "severe": (2 / 3, 1.0)}
    seen: Counter[str] = Counter()
    for study, report, told in TOLD:
        for line, said in told:
            found = [f for f in study.findings if said.get(f.name) and report.intended.get(f.name) == 1.0]
            for word in set(line.replace(",", "").split()) & set(words) if len(found) == 1 else ():
                kind, grade = words[word]
                low, high = bounds[grade]
                assert low <= (found[0].severity, found[0].size)[kind] <= high, line
                seen[grade] += 1
    assert min(seen["mild"], seen["severe"]) > 20


def test_sides_and_zones_are_those_of_the_finding() -> None:
    seen: Counter[str] = Counter()
    for study, report, told in TOLD:
        for line, said in told:
            found = [f for f in study.findings if said.get(f.name) and report.intended.get(f.name) == 1.0]
            if len(found) == 1 and len(said) == 1:
                for word in set(line.split()) & {"left", "right", "bilateral"}:
                    assert word == found[0].side, line
                    seen[word] += 1
                for word in set(line.split()) & {"upper", "mid", "lower"}:
                    assert word == found[0].zone, line
    assert min(seen.values()) > 20


def test_the_indication_speaks_of_the_patient_and_of_no_finding() -> None:
    for patient, _, report in STUDIES:
        indication = report.text.split("INDICATION:")[1].split("COMPARISON:")[0]
        assert bool(re.search(r"\b(woman|female)\b|___F", indication)) is (patient.sex == "female")
        assert bool(re.search(r"\b(man|male)\b|___M", indication)) is (patient.sex == "male")
        assert not re.search(r"\d", indication)
    asked = [
        (asked, report.intended.get(asked))
        for _, _, report in STUDIES
        if "// eval for" in report.text
        for asked in denotes(report.text.split("// eval for")[1].split("COMPARISON:")[0])
    ]
    assert len(asked) > 50
    assert any(value is None for _, value in asked)


def test_a_first_study_is_compared_with_none() -> None:
    for _, study, report in STUDIES:
        assert ("COMPARISON:  None." in report.text) is (study.earlier is None)


def test_styles_come_as_often_as_they_should() -> None:
    n = len(STUDIES)
    bare = sum("FINDINGS:" not in report.text for _, _, report in STUDIES)
    headed = sum(
        bool(re.search(r"^ (LUNGS|PLEURA|BONES|HEART AND|OTHER)", r.text, re.MULTILINE)) for _, _, r in STUDIES
    )
    assert binomtest(bare, n, 0.15).pvalue > 1e-3
    assert binomtest(headed, n, 0.20).pvalue > 1e-3
    assert all("FINAL REPORT" in r.text and " IMPRESSION: " in r.text for _, _, r in STUDIES)
    assert len({report.text for _, _, report in STUDIES}) > 0.95 * n
    assert max(len(row) for _, _, report in STUDIES for row in report.text.splitlines()) <= 80


def test_reports_of_two_worlds_differ_in_words() -> None:
    half = len(STUDIES) // 2
    one, two = ({line for _, _, told in part for line, _ in told} for part in (TOLD[:half], TOLD[half:]))
    assert len(one & two) < 0.15 * min(len(one), len(two))
