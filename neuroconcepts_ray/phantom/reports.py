"""Reports by a small grammar, the labels a reader of them would give, and what the grammar's words denote.

Labels follow the report, as MIMIC's do: what it affirms is 1.0, what it denies 0.0, what it suspects -1.0, what it
leaves out is blank, whether or not the finding is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import Finding, Patient, Study, generator
from neuroconcepts_ray.phantom.world import FINDINGS

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
"""The columns of the label tables, alphabetical as in MIMIC-CXR-JPG."""

_AFFIRMED: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        "There is {grade} {side} {zone} atelectasis.",
        "{grade} plate-like atelectasis in the {side} {zone} lung.",
        "Linear {side} atelectasis, {grade}.",
        "Bands of {grade} subsegmental atelectasis on the {side}.",
    ),
    "Cardiomegaly": (
        "{grade} cardiomegaly.",
        "The heart is enlarged, {grade} in degree.",
        "The cardiac silhouette is {adverb} enlarged.",
        "There is {grade} enlargement of the heart.",
    ),
    "Consolidation": (
        "There is {grade} consolidation in the {side} {zone} lung.",
        "{side} {zone} lung consolidation with air bronchograms.",
        "{grade} airspace consolidation in the {side} {zone} zone.",
        "Patchy {side} {zone} consolidation is seen.",
    ),
    "Edema": (
        "There is {grade} pulmonary edema.",
        "{grade} interstitial edema.",
        "{grade} interstitial pulmonary edema with vascular congestion.",
        "Reticular markings in keeping with {grade} edema.",
    ),
    "Lung Lesion": (
        "There is a nodule in the {side} {zone} lung.",
        "{side} {zone} lung nodule.",
        "Rounded pulmonary nodule in the {side} {zone} zone.",
        "A well-defined lung nodule projects over the {side} {zone} zone.",
    ),
    "Pleural Effusion": (
        "There is a {size} {side} pleural effusion.",
        "{size} {side} pleural effusion.",
        "Blunting of the {side} costophrenic angle consistent with a {size} effusion.",
        "{side} pleural effusion, {size} in extent, is present.",
    ),
    "Pneumothorax": (
        "There is a {size} {side} pneumothorax.",
        "{size} {side} apical pneumothorax.",
        "{side} pneumothorax, {size}, with visible pleural line.",
        "A {size} pneumothorax is seen on the {side}.",
    ),
    "Support Devices": (
        "Support devices are in place.",
        "Monitoring and support devices are in standard position.",
        "Lines and tubes are in unchanged position.",
        "Indwelling catheter and support devices as before.",
    ),
}
_DENIED: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("No atelectasis.", "There is no atelectasis."),
    "Cardiomegaly": (
        "The heart is not enlarged.",
        "No cardiomegaly.",
        "The heart is normal in size.",
        "The cardiac silhouette is normal.",
    ),
    "Consolidation": ("No focal consolidation.", "There is no consolidation.", "Lungs are without consolidation."),
    "Edema": ("No pulmonary edema.", "There is no evidence of pulmonary edema.", "No interstitial edema."),
    "Lung Lesion": ("No pulmonary nodule.", "There is no lung nodule.", "No nodule is seen."),
    "Pleural Effusion": ("No pleural effusion.", "There is no pleural effusion.", "No effusion is seen."),
    "Pneumothorax": ("No pneumothorax.", "There is no pneumothorax.", "No evidence of pneumothorax."),
    "Support Devices": ("No support devices.", "No indwelling lines or tubes."),
    "Fracture": ("No displaced rib fracture.", "No acute fracture is seen."),
    "Pneumonia": ("No evidence of pneumonia.", "No pneumonia."),
}
_DENIED_TOGETHER: dict[tuple[str, ...], tuple[str, ...]] = {
    ("Pleural Effusion", "Pneumothorax"): (
        "There is no pleural effusion or pneumothorax.",
        "No pleural effusion or pneumothorax is seen.",
    ),
    ("Consolidation", "Pleural Effusion", "Pneumothorax"): (
        "There is no focal consolidation, pleural effusion or pneumothorax.",
        "No focal consolidation, pleural effusion, or pneumothorax is identified.",
    ),
}
_SUSPECTED: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("Possible {side} atelectasis.", "Findings may represent atelectasis."),
    "Cardiomegaly": ("Possible cardiomegaly.", "The heart may be enlarged."),
    "Consolidation": ("Possible {side} consolidation.", "Cannot exclude consolidation in the {zone} lung."),
    "Edema": ("Possible mild pulmonary edema.", "Interstitial edema cannot be excluded."),
    "Lung Lesion": ("Possible {side} lung nodule.", "Questionable nodule in the {zone} zone."),
    "Pleural Effusion": ("Possible small {side} pleural effusion.", "A small pleural effusion cannot be excluded."),
    "Pneumothorax": ("Possible {side} pneumothorax.", "A small pneumothorax cannot be excluded."),
    "Support Devices": ("Possible support device projecting over the chest.",),
}
_PLAIN = (
    "Mediastinal contours are stable.",
    "The bony thorax is intact.",
    "Imaged upper abdomen is within normal limits.",
    "Degenerative changes of the thoracic spine.",
    "The hila are within normal limits.",
    "The patient is slightly rotated.",
    "Lung volumes are moderate.",
)
_SYMPTOMS = ("cough", "dyspnea", "chest pain", "fever", "weakness", "altered mental status", "preoperative evaluation")

LEXICON: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("atelectasis", "plate like", "platelike", "bands", "subsegmental", "linear"),
    "Cardiomegaly": ("cardiomegaly", "enlarged", "enlargement"),
    "Consolidation": ("consolidation", "bronchograms", "airspace", "patchy"),
    "Edema": ("edema", "congestion", "vascular", "reticular", "interstitial"),
    "Lung Lesion": ("nodule", "nodules", "lesion", "rounded", "well defined"),
    "Pleural Effusion": ("effusion", "effusions", "costophrenic", "blunting"),
    "Pneumothorax": ("pneumothorax", "pleural line", "apical"),
    "Support Devices": ("devices", "device", "catheter", "tubes", "lines", "indwelling", "monitoring"),
    "No Finding": ("lungs clear", "normal chest", "normal radiograph", "unremarkable"),
}
"""The words by which the grammar speaks of a finding: a name that holds all words of an entry denotes it."""

_ABSENCES: dict[str, tuple[str, ...]] = {
    "Cardiomegaly": ("heart normal", "silhouette normal", "normal size"),
    "No Finding": ("acute cardiopulmonary", "acute process", "cardiopulmonary process"),
}
"""The same for what says, without a word of negation, that it is not there."""

_NORMAL = (
    "Normal chest radiograph.",
    "Lungs are clear.",
    "The lungs are clear and the chest is unremarkable.",
    "No acute cardiopulmonary process.",
)


@dataclass(frozen=True)
class Report:
    """The text of one study and the labels that follow from it; a label that is absent is blank."""

    text: str
    labels: dict[str, float]


def denotes(name: str) -> dict[str, bool]:
    """What a name's words speak of.

    Returns:
        Finding → True where they say that it is there ("blunting costophrenic angle": Pleural Effusion), False where
        they say that it is not ("heart normal": Cardiomegaly).
    """
    words = set("".join(c if c.isalnum() else " " for c in name.lower()).split())
    said = {f: False for f, entries in _ABSENCES.items() if any(words.issuperset(entry.split()) for entry in entries)}
    there = {f: True for f, entries in LEXICON.items() if any(words.issuperset(entry.split()) for entry in entries)}
    return said | there


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _say(template: str, finding: Finding | None, rng: np.random.Generator) -> str:
    side = finding.side if finding else _pick(rng, ("left", "right"))
    zone = (finding.zone if finding else "") or _pick(rng, ("upper", "mid", "lower"))
    grade = finding.grade if finding else "mild"
    words = {
        "side": side,
        "zone": zone,
        "grade": grade,
        "adverb": {"mild": "mildly", "moderate": "moderately", "severe": "severely"}[grade],
        "size": {"mild": "small", "moderate": "moderate", "severe": "large"}[grade],
    }
    text = " ".join(template.format(**words).split())
    return text[0].upper() + text[1:]


def write_report(config: PhantomConfig, patient: Patient, study: Study) -> Report:
    """The report of one study, as its radiologist saw and worded it."""
    rng = generator(config, "report", patient.index, study.number)
    present = {finding.name: finding for finding in study.findings if finding.name in _AFFIRMED}
    labels: dict[str, float] = {}
    for name in filter(_AFFIRMED.__contains__, FINDINGS):
        chance = rng.random()
        if name in present:
            if chance >= config.omitted + config.uncertain:
                labels[name] = 1.0
            elif chance >= config.omitted:
                labels[name] = -1.0
        elif chance < config.uncertain / 8:
            labels[name] = -1.0
        elif chance > 1 - config.negated * (0.3 if name == "Support Devices" else 1.0):
            labels[name] = 0.0
    if rng.random() < 0.2:
        labels["Fracture"] = 0.0
    if "Consolidation" not in labels and "Consolidation" not in present and rng.random() < 0.15:
        labels["Pneumonia"] = 0.0

    body: list[str] = []
    impression: list[str] = []
    for name, finding in present.items():
        if labels.get(name) == 1.0:
            body.append(_say(_pick(rng, _AFFIRMED[name]), finding, rng))
            impression.append(_say(_pick(rng, _AFFIRMED[name]), finding, rng))
    for name in filter(_AFFIRMED.__contains__, FINDINGS):
        if labels.get(name) == -1.0:
            line = _say(_pick(rng, _SUSPECTED[name]), present.get(name), rng)
            body.append(line)
            impression.append(line)
    denied = [name for name in (*FINDINGS, "Fracture", "Pneumonia") if labels.get(name) == 0.0]
    for names, options in sorted(_DENIED_TOGETHER.items(), key=lambda item: -len(item[0])):
        if all(name in denied for name in names) and rng.random() < 0.7:
            body.append(_pick(rng, options))
            denied = [name for name in denied if name not in names]
    body += [_pick(rng, _DENIED[name]) for name in denied]
    body += [line for line in _PLAIN if rng.random() < 0.2]
    if all(value == 0.0 for name, value in labels.items() if name != "Support Devices"):
        labels["No Finding"] = 1.0
        impression.append(_pick(rng, _NORMAL))
        if rng.random() < 0.5:
            body.insert(0, "The lungs are clear.")
    order = rng.permutation(len(body))
    body = [body[i] for i in order]

    view = "CHEST (PA AND LAT)" if len(study.films) > 1 else f"CHEST ({study.films[0].view})"
    # Some radiologists write an impression only.
    if rng.random() < 0.15:
        impression, body = body + [line for line in impression if line not in body], []
    lines = [
        " " * 33 + "FINAL REPORT",
        f" EXAMINATION:  {view}",
        " ",
        f" INDICATION:  ___ year old {_pick(rng, ('man', 'woman'))} with {_pick(rng, _SYMPTOMS)}.",
        " ",
        f" COMPARISON:  {_pick(rng, ('None.', '___', 'Chest radiograph from ___.'))}",
        " ",
    ]
    if body:
        lines += [" FINDINGS: ", " ", *_wrap(" ".join(body)), " "]
    lines += [" IMPRESSION: ", " ", *_wrap(" ".join(impression) or "No change.")]
    return Report("\n".join(lines) + "\n", {name: labels[name] for name in LABELS if name in labels})


def _wrap(text: str, width: int = 78) -> list[str]:
    rows, row = [], ""
    for word in text.split():
        if len(row) + len(word) + 1 > width:
            rows.append(row)
            row = ""
        row += " " + word
    return [*rows, row]
