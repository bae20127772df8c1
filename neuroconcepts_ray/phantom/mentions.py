"""What radiologists call the fourteen observations, and the words by which they deny and doubt them.

Written for chest reports at large, in the manner of CheXpert's labeller (Irvin et al., AAAI 2019): mention, negation,
uncertainty. All patterns are for lower-case text with single spaces.
"""

import re
from dataclasses import dataclass

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

_GAP = r"(?:[a-z'\-]+ ){0,6}?"
_HEART = r"(?:heart(?: size| shadow| contour)?|cardiac (?:silhouette|size|shadow|contours?))"
_MIDDLE = r"(?:mediastin(?:um|al)(?: contours?| silhouette)?|cardiomediastin(?:um|al)(?: contours?| silhouette)?)"
_LARGE = r"(?:enlarg(?:ed|ement|ing)|widen(?:ed|ing)|broaden(?:ed|ing)|promine(?:nt|nce))"
_NORMAL = r"(?:normal|unremarkable|within normal limits|not (?:enlarged|widened|prominent))"

_MENTIONS = {
    "Atelectasis": r"\batelecta\w+|\b(?:lobar|lung|lobe|segmental) collapse\b|\bcollapse of the \w+ (?:\w+ )?(?:lobe|lung)\b",
    "Cardiomegaly": rf"\bcardiomegaly\b|\b{_HEART} {_GAP}(?:enlarged|large)\b|\b(?:enlarged|enlargement of the|large) {_HEART}\b|"
    r"\b(?:cardiac|heart) enlargement\b|\benlarged heart\b",
    "Consolidation": r"\bconsolidat\w+",
    "Edema": r"(?<!soft tissue )(?<!subcutaneous )\bo?edema\b|\b(?:vascular|pulmonary|venous|vasculature) congestion\b|\bheart failure\b|\bchf\b|"
    r"\bvascular (?:engorgement|redistribution)\b|\bkerley\b|\bfluid overload\b",
    "Enlarged Cardiomediastinum": rf"\b{_MIDDLE} {_GAP}{_LARGE}\b|\b{_LARGE}(?: of the| of)? (?:\w+ )?{_MIDDLE}",
    "Fracture": r"\bfractur\w+",
    "Lung Lesion": r"(?<!osseous )(?<!bony )(?<!bone )(?<!lytic )(?<!sclerotic )(?<!mediastinal )"
    r"\b(?:nodul\w+|mass(?:es)?|lesions?|tumou?rs?|neoplasms?|metasta\w+|cavitation)\b",
    "Lung Opacity": r"\bopaci\w+|\binfiltrat\w+|\bairspace disease\b|\bhaziness\b",
    "Pleural Effusion": r"(?<!pericardial )\beffusions?\b|\bpleural fluid\b|\b(?:hydro|h[a]?emo)(?:pneumo)?thora\w+|"
    r"\bblunt\w* (?:of )?(?:the |both )?(?:\w+ )?(?:costophrenic|cp)\b|\bcostophrenic (?:angles?|sulc\w+|recess) (?:\w+ ){0,3}?blunt\w+",
    "Pleural Other": r"\bpleural(?:[\- ]based)? (?:\w+ )?(?:thickening|plaques?|scar\w*|calcifications?)\b|\bthickening of the pleura\b|"
    r"\bfibrothorax\b|\bpleuro-?parenchymal scar\w*",
    "Pneumonia": r"\b(?:broncho)?pneumonias?\b|\binfectio\w+",
    "Pneumothorax": r"\b(?:hydro)?pneumothora\w+|\bpleural air\b|\bair in the pleural space\b",
    "Support Devices": r"\b(?:tubes?|catheters?|pacemakers?|pacers?|pacing|icd|aicd|defibrillators?|devices?|picc|drains?|stents?)\b|"
    r"\bleads\b(?! to)|\b(?:central|venous|arterial|jugular|subclavian|picc|femoral|indwelling|support) lines?\b|"
    r"\blines (?:and|or) tubes\b|\bport-?a-?cath\b|\bswan-ganz\b|\bports?\b|\bprosthetic valves?\b",
}  # fmt: skip

MENTIONS = tuple((label, re.compile(pattern)) for label, pattern in _MENTIONS.items())
ANY_MENTION = re.compile("|".join(pattern for pattern in _MENTIONS.values()))
"""A sentence without it speaks of none, unless it says that something is normal."""

NORMALS = (
    ("Cardiomegaly", re.compile(rf"\b{_HEART} {_GAP}{_NORMAL}|\bnormal (?:\w+ )?{_HEART}|\bnormal-sized heart\b")),
    (
        "Enlarged Cardiomediastinum",
        re.compile(rf"\b{_MIDDLE} {_GAP}{_NORMAL}|\bnormal (?:\w+ (?:and )?)?{_MIDDLE}"),
    ),
)
"""What denies a finding without a word of negation."""

PSEUDO = re.compile(
    r"\b(?:no|without|not|little)(?: (?:an?y?|definite|significant(?:ly)?|substantial(?:ly)?|appreciabl[ey]|relevant|interval|other|"
    r"further|major|much))* (?:chang(?:ed?|es)|increase[ds]?|decreased?|improve(?:d|ment)|worsen(?:ed|ing)|differen(?:ce|t)|progress(?:ed|ion))\b"
    r"|\bnot only\b|\bnot necessarily\b"
)
"""Looks like a negation and is none: it tells what a thing has not become."""

NEGATED_BEFORE = re.compile(
    r"\b(?:no|not|without|nor|neither|never|absence of|absent|negative for|free of|free from|clear of|lacks?|lack of|"
    r"rather than|(?:interval |complete )?(?:resolution|clearing|disappearance|removal) of|resolved|denies|excludes|rules out|ruled out for)\b"
)
"""Denies what follows."""

NEGATED_AFTER = re.compile(
    r"\b(?:(?:is|are|was|were) (?:now |currently )?(?:absent|excluded|ruled out)|"
    r"not (?:clearly |definitely |well )?(?:seen|present|identified|evident|visuali[sz]ed|demonstrated|detected|appreciated|noted|apparent|suspected)|"
    r"(?:has|have)(?: \w+ly)?(?: now| since| all)? (?:resolved|cleared|disappeared|gone)|(?:is|are) (?:now |completely )?(?:resolved|gone)|"
    r"no longer(?: \w+)?|(?:has|have|was|were)(?: now| since)?(?: been)? (?:removed|withdrawn|extracted|drained))\b"
)
"""Denies what precedes."""

HISTORY = re.compile(r"\b(?:history of|prior|previous|previously (?:seen|noted|described|treated)|former|known remote) (?:[a-z\-]+ ){0,3}$")
"""Directly before a mention: it tells of former times …"""

STILL = re.compile(
    r"\b(?:unchanged|stable|persist\w*|again|remains?|continu\w+|increas\w+|decreas\w+|larger|smaller|worse\w*|improv\w+|similar|still|"
    r"chang\w*|redemonstrated|now)\b"
)
"""… unless the statement goes on to how it is now."""

TURN = re.compile(
    r"(?:,? \b(?:but|however|although|though|except(?: for)?|while|whereas|which|yet|nevertheless|apart from|aside from|other than|"
    r"due to|secondary to|because of|as well as|in the setting of)\b)|(?:,? and (?=the\b|there\b|a\b|an\b))|(?:, (?=there (?:is|are)\b))|; |: "
)
"""Where one statement ends and the next begins."""

VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|appears?|remains?|demonstrates?|shows?|seems?)\b")
DEGREE = re.compile(
    r"(?:and )?(?:new|mild\w*|moderate\w*|severe\w*|minimal\w*|slight\w*|marked\w*|small|large|tiny|trace|massive|stable|unchanged|"
    r"persistent|increas\w+|decreas\w+|improv\w+|worsen\w+|likely|possibl\w|probabl\w|patchy|bilateral|left|right)\b"
)
"""How a part of a sentence begins that affirms anew, after a comma."""


@dataclass(frozen=True)
class Reader:
    """How a labeller takes doubt.

    Args:
        doubt_before: Casts doubt on what follows.
        doubt_after: Casts doubt on what precedes.
        negated_after: Denies what precedes, beside :data:`NEGATED_AFTER`.
    """

    doubt_before: re.Pattern[str]
    doubt_after: re.Pattern[str]
    negated_after: re.Pattern[str]


_DOUBT_BEFORE = (
    r"possibl[ey]|possibility of|may|might|could|suspicio(?:us|n) (?:for|of)|concern(?:ing)? for|worrisome for|questionable|"
    r"question of|questioned|equivocal|(?:cannot|can not|could not|not|difficult to|hard to)(?: \w+ly)? (?:exclude|rule out)|potential(?:ly)?|perhaps|"
    r"versus|vs\.?|less likely|consider|rule out|if there is|whether|(?:not|no) certain|borderline"
)
_DOUBT_AFTER = (
    r"(?:cannot|can not|could not|not)(?: \w+ly)?(?: be)?(?: \w+ly)? (?:excluded|ruled out)|(?:is|are) (?:not \w+ly )?(?:possible|questioned|uncertain|"
    r"equivocal|considered|not certain)|(?:may|might|could) be present|should be considered|difficult to exclude|versus|vs\.?|in question"
)
_LEANING_BEFORE = r"probabl[ey]|likely|suspect(?:ed|s)?|suggest(?:s|ing|ive of|ion of)?|presum(?:ed|ably)|appears to be"
_LEANING_AFTER = r"(?:is|are) (?:\w+ )?(?:likely|probable|suspected|suggested|presumed)"


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(patterns)})(?![\w\-])")


READERS = {
    "chexpert": Reader(
        _words(_DOUBT_BEFORE, _LEANING_BEFORE), _words(_DOUBT_AFTER, _LEANING_AFTER), _words("(?:is|are) unlikely|unlikely")
    ),
    "negbio": Reader(_words(_DOUBT_BEFORE), _words(_DOUBT_AFTER, "(?:is|are) unlikely|unlikely"), _words("(?:is|are) refuted")),
}
"""Table → its reader. They differ where the real tables do, in doubt: what is likely, suspected or suggested is in doubt
to the first and there to the second; what is unlikely is not there to the first and in doubt to the second."""
