"""Reports by a small grammar: what a radiologist sees, overlooks, doubts, denies and compares, in his own style.

The labels are not made here: :mod:`~neuroconcepts_ray.phantom.labeller` reads them in the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import Finding, Patient, Study, generator
from neuroconcepts_ray.phantom.lexicon import draw_lexicon
from neuroconcepts_ray.phantom.mentions import LABELS
from neuroconcepts_ray.phantom.speech import Speaker, change, pick
from neuroconcepts_ray.phantom.wordings import SYMPTOMS
from neuroconcepts_ray.phantom.world import FINDINGS, UNSEEN, draw_world

REPORTED = (*FINDINGS, *UNSEEN)
"""What reports speak of."""

_UNDENIED = ("Osteopenia",)
_STYLES = (("prose", 0.4), ("terse", 0.25), ("list", 0.2), ("impression", 0.15))
_HEADINGS = {
    "LUNGS": ("Atelectasis", "Consolidation", "Edema", "Lung Lesion", "Pneumonia"),
    "PLEURA": ("Pleural Effusion", "Pleural Other", "Pneumothorax"),
    "HEART AND MEDIASTINUM": ("Cardiomegaly", "Enlarged Cardiomediastinum"),
    "BONES": ("Fracture", "Osteopenia"),
    "OTHER": ("Support Devices", ""),
}
_HEADING_OF = {name: heading for heading, names in _HEADINGS.items() for name in names}


@dataclass(frozen=True)
class Report:
    """A report and what its author meant.

    Args:
        text: The report.
        intended: Label → 1.0 affirmed, 0.0 denied, -1.0 suspected; nothing where the report passes it over. No run sees
            it: it is what the labeller is measured against.
    """

    text: str
    intended: dict[str, float]


@dataclass(frozen=True)
class _Told:
    """One sentence of the body and what it is about; "" for nothing."""

    name: str
    text: str


def draw_intentions(rng: np.random.Generator, config: PhantomConfig, study: Study) -> dict[str, float]:
    """What the report will affirm (1.0), suspect (-1.0) and deny (0.0)."""
    there = {finding.name for finding in study.findings} | study.others
    meant: dict[str, float] = {}
    for name, chance in zip(REPORTED, rng.random(len(REPORTED)).tolist(), strict=True):
        if name in there:
            if chance >= config.omitted:
                meant[name] = -1.0 if chance < config.omitted + config.uncertain else 1.0
        elif name not in _UNDENIED:
            if chance < config.uncertain / 8:
                meant[name] = -1.0
            elif chance >= 1 - config.negated:
                meant[name] = 0.0
    return meant


def write_report(config: PhantomConfig, patient: Patient, study: Study) -> Report:
    """The report of one study, as its radiologist saw and worded it."""
    rng = generator(config, "report", patient.index, study.number)
    meant = draw_intentions(rng, config, study)
    style = str(rng.choice([name for name, _ in _STYLES], p=[share for _, share in _STYLES]))
    speaker = Speaker(rng, draw_lexicon(draw_world(config.seed).words), style != "prose")
    compares = study.earlier is not None and rng.random() < 0.85
    found = {finding.name: finding for finding in study.findings}
    sick = any(meant.get(name, 0.0) != 0.0 for name in REPORTED if name not in ("Support Devices", "Osteopenia"))

    body = _body(speaker, study, found, meant, compares, headed=style == "list")
    if not sick and rng.random() < 0.5:
        body.insert(0, _Told("Consolidation", speaker.say("clear")))
    body += [_Told("", speaker.say("plain")) for _ in range(int(rng.integers(3)))]
    body = list({told.text: told for told in body}.values())
    lines = _head(rng, speaker, patient, study)
    summary = _summary(speaker, study, found, meant, compares, sick)
    if style == "impression":
        texts = [told.text for told in body]
        lines += _impression([*texts, *(text for text in summary if text not in texts)] if not sick else texts, False)
    else:
        lines += [" FINDINGS: ", " ", *_findings(rng, body, style == "list"), " "]
        lines += _impression(summary, style == "list")
    intended = {name: value for name, value in meant.items() if name in LABELS}
    if not sick:
        intended["No Finding"] = 1.0
    return Report("\n".join(lines) + "\n", {name: intended[name] for name in LABELS if name in intended})


def _body(
    speaker: Speaker,
    study: Study,
    found: Mapping[str, Finding],
    meant: Mapping[str, float],
    compares: bool,
    *,
    headed: bool,
) -> list[_Told]:
    rng = speaker.rng
    told: list[_Told] = []
    earlier = {finding.name for finding in study.earlier or ()} if compares else set()
    denied = []
    for name, value in meant.items():
        if value == 1.0:
            told.append(_Told(name, _affirmed(speaker, name, study, found, compares)))
        elif value == -1.0:
            told.append(_Told(name, speaker.doubt(name, found.get(name))))
        elif name in earlier:
            told.append(_Told(name, speaker.resolved(name)))
        else:
            denied.append(name)
    if len(denied) > 1 and rng.random() < 0.7:
        together = [denied[i] for i in rng.permutation(len(denied))[: int(rng.integers(2, 5))]]
        if headed:
            together = [name for name in denied if _HEADING_OF[name] == _HEADING_OF[together[0]]]
        if len(together) > 1:
            denied = [name for name in denied if name not in together]
            told.append(_Told(together[0], speaker.deny_all(together)))
    for name in denied:
        again = compares and rng.random() < 0.2
        told.append(_Told(name, speaker.deny_new(name) if again else speaker.deny(name)))
    return told


def _affirmed(speaker: Speaker, name: str, study: Study, found: Mapping[str, Finding], compares: bool) -> str:
    finding = found.get(name)
    told = compares and finding is not None and speaker.rng.random() < 0.7
    return speaker.affirm(name, finding, change(finding, study.earlier) if told and finding is not None else "")


def _summary(
    speaker: Speaker,
    study: Study,
    found: Mapping[str, Finding],
    meant: Mapping[str, float],
    compares: bool,
    sick: bool,
) -> list[str]:
    """The lines of the impression."""
    lines = []
    for name, value in meant.items():
        if value == -1.0:
            lines.append(speaker.doubt(name, found.get(name)))
        elif value == 1.0 and speaker.rng.random() < (0.3 if name == "Support Devices" else 0.85):
            lines.append(_affirmed(speaker, name, study, found, compares))
    if not sick:
        return [speaker.say("normal"), *lines]
    if not lines:
        name = next(name for name, value in meant.items() if value == 1.0 and name != "Support Devices")
        lines.append(_affirmed(speaker, name, study, found, compares))
    return lines


def _head(rng: np.random.Generator, speaker: Speaker, patient: Patient, study: Study) -> list[str]:
    view = "CHEST (PA AND LAT)" if len(study.films) > 1 else f"CHEST ({study.films[0].view})"
    woman = patient.sex == "female"
    who = pick(
        rng,
        (
            f"___ year old {'woman' if woman else 'man'}",
            f"___-year-old {'female' if woman else 'male'}",
            f"___{'F' if woman else 'M'}",
        ),
    )
    # What was asked for says nothing about the film: no reader may count it.
    asked = pick(rng, REPORTED[:-1])
    question = f"  // eval for {speaker.noun(asked)}" if rng.random() < 0.3 else ""
    before = (
        "None." if study.earlier is None else pick(rng, ("___", "Chest radiograph from ___.", "Radiograph of ___."))
    )
    return [
        " " * 33 + "FINAL REPORT",
        f" EXAMINATION:  {view}",
        " ",
        *_wrap(f"INDICATION:  {who} with {pick(rng, SYMPTOMS)}{question or '.'}"),
        " ",
        f" COMPARISON:  {before}",
        " ",
    ]


def _findings(rng: np.random.Generator, body: list[_Told], headed: bool) -> list[str]:
    if not headed:
        return _wrap(" ".join(body[i].text for i in rng.permutation(len(body))) or "As below.")
    rows = []
    for heading in _HEADINGS:
        texts = [told.text for told in body if _HEADING_OF[told.name] == heading]
        if texts:
            rows += _wrap(f"{heading}: {' '.join(texts)}")
    return rows or [" As below."]


def _impression(lines: list[str], numbered: bool) -> list[str]:
    if numbered and len(lines) > 1:
        return [
            " IMPRESSION: ",
            " ",
            *(row for number, line in enumerate(lines, 1) for row in _wrap(f"{number}. {line}")),
        ]
    return [" IMPRESSION: ", " ", *_wrap(" ".join(lines))]


def _wrap(text: str, width: int = 78) -> list[str]:
    rows, row = [], ""
    for word in text.split():
        if len(row) + len(word) + 1 > width:
            rows.append(row)
            row = ""
        row += " " + word
    return [*rows, row]
