"""What radiologists call the fourteen observations of CheXpert, as a reader knows it who has not seen the grammar.

All patterns are for lower-case text with single spaces.
"""

import re

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

# Between a thing and what is said of it; "normal heart with enlarged hila" says nothing of a large heart.
_GAP = r"(?:(?!with|normal|unremarkable|and|enlarg|wid|promin)[a-z'\-]+ ){0,6}?"
_HEART = r"(?:heart(?: size| shadow| contour)?|cardiac (?:silhouette|size|shadow|contours?))"
_MIDDLE = r"(?:mediastin(?:um|al)(?: contours?| silhouette)?|cardiomediastin(?:um|al)(?: contours?| silhouette)?)"
_LARGE = r"(?:enlarg(?:ed|ement|ing)|widen(?:ed|ing)|broaden(?:ed|ing)|promine(?:nt|nce))"
_NORMAL = r"(?:normal|unremarkable|within normal limits|not (?:\w+ly )?(?:enlarged|widened|prominent))"

_MENTIONS: dict[str, tuple[str, ...]] = {
    "Atelectasis": (
        r"atelecta\w+",
        r"(?:lobar|lung|lobe|segmental) collapse",
        r"collapse of the \w+ (?:\w+ )?(?:lobe|lung)",
    ),
    "Cardiomegaly": (
        r"cardiomegaly",
        rf"{_HEART} {_GAP}enlarged",
        rf"{_HEART} (?:is|are|appears?) (?:\w+ly )?large",
        rf"(?:enlarged|enlargement of the|large) {_HEART}",
        r"(?:cardiac|heart) enlargement",
    ),
    "Consolidation": (r"consolidat\w+",),
    "Edema": (
        r"(?<!soft tissue )(?<!subcutaneous )o?edema",
        r"(?:vascular|pulmonary|venous) congestion",
        r"vascular (?:engorgement|redistribution)",
        r"heart failure",
        r"chf",
        r"kerley",
        r"fluid overload",
    ),
    "Enlarged Cardiomediastinum": (
        rf"{_MIDDLE} {_GAP}{_LARGE}",
        rf"{_LARGE}(?: of the| of)? (?:\w+ )?{_MIDDLE}",
    ),
    "Fracture": (r"fractur\w+",),
    "Lung Lesion": (
        r"(?<!osseous )(?<!bony )(?<!bone )(?<!lytic )(?<!sclerotic )(?<!mediastinal )"
        r"(?:nodul\w+|mass(?:es)?|lesions?|tumou?rs?|neoplasms?|metasta\w+)",
    ),
    "Lung Opacity": (r"opaci\w+", r"infiltrat\w+", r"airspace disease", r"haziness"),
    "Pleural Effusion": (
        r"(?<!pericardial )effusions?",
        r"pleural fluid",
        r"(?:hydro|ha?emo)(?:pneumo)?thora\w+",
        r"blunt\w* (?:of )?(?:the |both )?(?:\w+ )?(?:costophrenic|cp) (?:angles?|sulc\w+|recess\w*)",
        r"costophrenic (?:angles?|sulc\w+|recess\w*) (?:\w+ ){0,3}?blunt\w+",
    ),
    "Pleural Other": (
        r"pleural(?:[\- ]based)? (?:\w+ )?(?:thickening|plaques?|scar\w*|calcifications?)",
        r"thickening of the pleura",
        r"fibrothorax",
        r"pleuro-?parenchymal scar\w*",
    ),
    "Pneumonia": (r"(?:broncho)?pneumonias?", r"infectio\w+"),
    "Pneumothorax": (r"(?:hydro)?pneumothora\w+", r"pleural air", r"air in the pleural space"),
    "Support Devices": (
        r"(?:tubes?|catheters?|pacemakers?|pacers?|pacing|icd|defibrillators?|devices?|picc|drains?|stents?)",
        r"leads(?! to)",
        r"(?:central|venous|arterial|jugular|subclavian|picc|femoral|indwelling|support) lines?",
        r"lines (?:and|or) tubes",
        r"port-?a-?cath",
        r"swan-ganz",
        r"ports?",
        r"prosthetic valves?",
    ),
}


def words(*options: str) -> re.Pattern[str]:
    """A pattern of whole words, any of the options."""
    return re.compile(rf"\b(?:{'|'.join(options)})(?![\w\-])")


MENTIONS = tuple((label, words(*options)) for label, options in _MENTIONS.items())
"""Label → what mentions it."""

ANY_MENTION = words(*(option for options in _MENTIONS.values() for option in options))
"""A statement without it speaks of none, unless it says that something is normal."""

NORMALS = (
    (
        "Cardiomegaly",
        words(
            rf"{_HEART} {_GAP}{_NORMAL}",
            rf"normal (?:\w+ )?{_HEART}",
            r"normal-sized heart",
            rf"cardiac and mediastinal (?:contours?|silhouettes?) {_GAP}{_NORMAL}",
        ),
    ),
    ("Enlarged Cardiomediastinum", words(rf"{_MIDDLE} {_GAP}{_NORMAL}", rf"normal (?:\w+ (?:and )?)?{_MIDDLE}")),
)
"""What denies a finding without a word of negation."""
