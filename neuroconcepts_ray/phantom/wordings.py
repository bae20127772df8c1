"""All that the grammar of reports can say: a pool of wordings, of which each world speaks a part.

Slots of a wording: ``{mild}`` and ``{mildly}`` tell the severity, ``{small}`` the size, ``{side}``, ``{level}`` (upper)
and ``{zone}`` (upper lung) the place, ``{margin}`` and ``{lump}`` a lesion's rim and size, ``{displaced}`` a fracture;
``{s}`` is the plural of both sides.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """A finding as a noun phrase.

    Args:
        bare: As it is denied, doubted or said to have gone; with "a" if it can be counted.
        full: As it is affirmed, with slots.
        plural: It is many: no article, "are".
    """

    bare: str
    full: str
    plural: bool = False


@dataclass(frozen=True)
class Clause:
    """A finding as a statement: affirmed, denied and doubted."""

    full: str
    denied: str
    doubted: str


WORDINGS: dict[str, tuple[Noun | Clause, ...]] = {
    "Atelectasis": (
        Noun("atelectasis", "{mild} {side} {zone} atelectasis"),
        Noun("plate-like atelectasis", "{mild} plate-like atelectasis in the {side} {zone}"),
        Noun("linear atelectasis", "{mild} linear atelectasis in the {side} {zone}"),
        Noun("subsegmental atelectasis", "{mild} {side} {level} subsegmental atelectasis"),
        Noun("discoid atelectasis", "{mild} discoid atelectasis in the {side} {zone}"),
        Noun("atelectatic change", "{mild} atelectatic change in the {side} {zone}"),
    ),
    "Cardiomegaly": (
        Noun("cardiomegaly", "{mild} cardiomegaly"),
        Noun("enlargement of the heart", "{mild} enlargement of the heart"),
        Noun("enlargement of the cardiac silhouette", "{mild} enlargement of the cardiac silhouette"),
        Noun("cardiac enlargement", "{mild} cardiac enlargement"),
        Clause("the heart is {mildly} enlarged", "the heart is normal in size", "the heart may be {mildly} enlarged"),
        Clause("heart size is {mildly} enlarged", "the heart is not enlarged", "heart size may be {mildly} enlarged"),
        Clause(
            "the cardiac silhouette is {mildly} enlarged",
            "the cardiac silhouette is not enlarged",
            "the cardiac silhouette may be {mildly} enlarged",
        ),
    ),
    "Consolidation": (
        Noun("consolidation", "{side} {zone} consolidation"),
        Noun("focal consolidation", "{small} focal consolidation in the {side} {zone}"),
        Noun("airspace consolidation", "{small} airspace consolidation in the {side} {zone}"),
        Noun("parenchymal consolidation", "{small} {side} {level} parenchymal consolidation"),
        Noun("an area of consolidation", "a {small} area of consolidation in the {side} {zone}"),
        Noun("alveolar consolidation", "{side} {zone} alveolar consolidation with air bronchograms"),
    ),
    "Edema": (
        Noun("pulmonary edema", "{mild} pulmonary edema"),
        Noun("interstitial edema", "{mild} interstitial edema"),
        Noun("interstitial pulmonary edema", "{mild} interstitial pulmonary edema"),
        Noun("pulmonary vascular congestion", "{mild} pulmonary vascular congestion"),
        Noun("vascular congestion", "{mild} vascular congestion with edema"),
        Noun("edema of the lungs", "{mild} edema of the lungs"),
    ),
    "Enlarged Cardiomediastinum": (
        Noun("mediastinal widening", "{mild} mediastinal widening"),
        Noun("widening of the mediastinum", "{mild} widening of the mediastinum"),
        Noun("broadening of the mediastinal contour", "{mild} broadening of the mediastinal contour"),
        Noun("mediastinal prominence", "{mild} mediastinal prominence"),
        Clause(
            "the mediastinum is {mildly} widened", "the mediastinum is not widened", "the mediastinum may be widened"
        ),
        Clause(
            "the mediastinal contour is {mildly} prominent",
            "the mediastinal contour is normal",
            "the mediastinal contour may be prominent",
        ),
    ),
    "Fracture": (
        Noun("a rib fracture", "a {side} {level} rib fracture"),
        Noun("a displaced rib fracture", "a {displaced} {side} {level} rib fracture"),
        Noun("a fracture", "a fracture of a {side} {level} rib"),
        Noun("an acute fracture", "a {displaced} fracture of a {side} {level} rib"),
        Noun("a cortical fracture", "a {displaced} cortical fracture of a {side} {level} rib"),
    ),
    "Lung Lesion": (
        Noun("a nodule", "a {margin} {side} {zone} {lump}"),
        Noun("a lung nodule", "a {margin} lung {lump} in the {side} {zone}"),
        Noun("a pulmonary nodule", "a {small} {margin} pulmonary {lump} in the {side} {zone}"),
        Noun("a lung lesion", "a {small} {margin} lung lesion in the {side} {zone}"),
        Noun("a nodular lesion", "a {margin} {side} {level} nodular lesion"),
        Noun("a solitary nodule", "a solitary {margin} {lump} in the {side} {zone}"),
    ),
    "Pleural Effusion": (
        Noun("a pleural effusion", "a {small} {side} pleural effusion{s}"),
        Noun("an effusion", "a {small} {side} effusion{s}"),
        Noun("a layering pleural effusion", "a {small} layering {side} pleural effusion{s}"),
        Noun("pleural fluid", "a {small} amount of {side} pleural fluid"),
        Noun(
            "blunting of the costophrenic angles", "blunting of the {side} costophrenic angle{s}, {small} effusion{s}"
        ),
    ),
    "Pleural Other": (
        Noun("pleural thickening", "{mild} {side} {level} pleural thickening"),
        Noun("a pleural plaque", "a {small} {side} {level} pleural plaque"),
        Noun("pleural scarring", "{mild} {side} {level} pleural scarring"),
        Noun("pleural scar", "{mild} pleural scar on the {side}"),
        Noun("fibrothorax", "{mild} {side} fibrothorax"),
    ),
    "Pneumothorax": (
        Noun("a pneumothorax", "a {small} {side} pneumothorax"),
        Noun("an apical pneumothorax", "a {small} {side} apical pneumothorax"),
        Noun("a pneumothorax", "a {small} {side} pneumothorax with a visible pleural line"),
        Noun("pleural air", "a {small} amount of {side} pleural air"),
    ),
    "Support Devices": (
        Noun("support devices", "support devices", plural=True),
        Noun("monitoring and support devices", "monitoring and support devices", plural=True),
        Noun("indwelling support devices", "indwelling support devices", plural=True),
    ),
    "Pneumonia": (
        Noun("pneumonia", "clinically diagnosed pneumonia"),
        Noun("an infectious process", "an infectious process by clinical criteria"),
        Noun("bronchopneumonia", "bronchopneumonia under treatment"),
        Noun("pneumonia", "pneumonia in the clinical setting"),
    ),
    "Osteopenia": (
        Noun("osteopenia", "diffuse osteopenia"),
        Noun("demineralization of the bones", "diffuse demineralization of the bones"),
        Noun("bony demineralization", "bony demineralization"),
        Clause("the bones are osteopenic", "the bones are not osteopenic", "the bones may be osteopenic"),
        Clause("the bones are demineralized", "the bones are not demineralized", "the bones may be demineralized"),
    ),
}
"""Every way to speak of what is reported; each world speaks some."""

UNUSUAL: dict[str, Noun] = {
    "Atelectasis": Noun("volume loss", "{mild} {side} {zone} volume loss"),
    "Cardiomegaly": Noun("a globular heart", "a {mildly} globular heart"),
    "Edema": Noun("cephalization of the vessels", "{mild} cephalization of the vessels"),
    "Enlarged Cardiomediastinum": Noun("mediastinal fullness", "{mild} mediastinal fullness"),
    "Fracture": Noun("a cortical step-off", "a cortical step-off of a {side} {level} rib"),
    "Lung Lesion": Noun("a coin-shaped density", "a {small} coin-shaped density in the {side} {zone}"),
    "Pleural Other": Noun("a pleural cap", "a {small} {side} {level} pleural cap"),
    "Pneumonia": Noun("a pneumonic process", "a pneumonic process by clinical criteria"),
    "Pneumothorax": Noun("a visceral pleural line", "a {side} visceral pleural line"),
    "Support Devices": Noun("indwelling electrodes", "indwelling electrodes", plural=True),
}
"""Rare ways to say it, which some worlds have: readers who do not know them make mistakes, as real ones do."""

DEVICE_WORDS: dict[str, tuple[Noun, ...]] = {
    "tube": tuple(
        Noun(f"{a} {kind} tube", f"{a} {kind} tube")
        for a, kind in (("an", "endotracheal"), ("a", "tracheal"), ("an", "enteric"), ("a", "nasogastric"))
    ),
    "line": tuple(
        Noun(words, words)
        for words in ("a central venous catheter", "a central venous line", "a PICC line", "a jugular catheter")
    ),
    "leads": tuple(
        Noun(words, words, plural=True)
        for words in ("monitoring leads", "electrocardiographic leads", "telemetry leads")
    ),
    "pacemaker": tuple(Noun(words, words) for words in ("a pacemaker", "a cardiac pacemaker", "a pacing device")),
}

DEGREES = {
    "mild": (("mild", "mildly"), ("slight", "slightly"), ("minimal", "minimally")),
    "moderate": (("moderate", "moderately"),),
    "severe": (("severe", "severely"), ("marked", "markedly")),
}
SIZES = {
    "mild": ("small", "tiny", "minute"),
    "moderate": ("moderate", "moderate-sized", "medium-sized"),
    "severe": ("large", "sizeable"),
}
MARGIN_WORDS = {"smooth": ("smooth", "well-circumscribed", "well-defined"), "spiculated": ("spiculated", "stellate")}
PLACES = ("lung", "lung zone", "lung field", "zone")

FRAMES: dict[str, tuple[str, ...]] = {
    "affirmed": (
        "there {is} {a}",
        "{a} {is} seen",
        "{a} {is} present",
        "{a} {is} noted",
        "{a} {is} identified",
        "{a} {is} demonstrated",
        "the film shows {a}",
    ),
    "denied": (
        "no {it}",
        "there {is} no {it}",
        "no evidence of {it}",
        "no {it} {is} seen",
        "no {it} {is} identified",
        "no {it} {is} detected",
        "negative for {it}",
    ),
    "listed": (
        "no {them}",
        "there is no {them}",
        "no evidence of {them}",
        "no {them} is seen",
        "no {them} is identified",
        "the chest is free of {them}",
        "negative for {them}",
        "without {them}",
    ),
    "doubted": (
        "possible {it}",
        "{a} cannot be excluded",
        "findings may represent {it}",
        "questionable {it}",
        "{a} {is} possible",
        "suspected {it}",
        "probable {it}",
        "cannot exclude {it}",
        "there may be {a}",
    ),
    "resolved": (
        "the previously seen {it} {has} resolved",
        "{it} {has} resolved",
        "interval resolution of {it}",
        "{it} {is} no longer seen",
        "the {it} seen previously {has} resolved",
    ),
    "removed": ("the {it} {has} been removed", "interval removal of the {it}", "{it} {is} no longer seen"),
    "new, before": ("new",),
    "new, after": ("new since the prior study", "new compared to prior", "new from the prior radiograph"),
    "unchanged, before": ("unchanged", "stable", "persistent"),
    "unchanged, after": (
        "unchanged compared to prior",
        "not significantly changed",
        "without significant change",
        "similar to the prior study",
    ),
    "increased, before": ("increased", "increasing", "worsening"),
    "increased, after": ("increased since the prior study", "increased compared to prior", "worse than on the prior"),
    "decreased, before": ("decreased", "decreasing", "improving"),
    "decreased, after": ("decreased since the prior study", "decreased compared to prior", "improved from prior"),
    "normal": (
        "no acute cardiopulmonary process",
        "no acute cardiopulmonary abnormality",
        "normal chest radiograph",
        "no acute intrathoracic process",
        "unremarkable chest radiograph",
    ),
    "clear": ("the lungs are clear", "lungs are clear", "both lungs are clear"),
    "plain": (
        "the bony thorax is unremarkable",
        "imaged upper abdomen is within normal limits",
        "degenerative changes of the shoulders",
        "the hila are within normal limits",
        "the patient is slightly rotated",
        "lung volumes are moderate",
        "the trachea is midline",
        "soft tissues are within normal limits",
    ),
}
"""The sentences that a wording goes into, and those of no finding."""

SYMPTOMS = (
    "cough", "dyspnea", "chest pain", "fever", "weakness", "altered mental status", "preoperative evaluation",
    "hypoxia", "leukocytosis", "fall", "shortness of breath",
)  # fmt: skip
