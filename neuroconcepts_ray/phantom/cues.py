"""The words by which radiologists deny, doubt and turn, and how two readers take doubt.

In the manner of NegEx (Chapman et al., 2001) and of CheXpert's labeller (Irvin et al., AAAI 2019): cues that work
forwards, cues that work backwards, and what ends their reach.
"""

import re
from dataclasses import dataclass

from neuroconcepts_ray.phantom.mentions import words

PSEUDO = words(
    r"(?:no|without|not|little)"
    r"(?: (?:any|definite|significant(?:ly)?|substantial(?:ly)?|appreciabl[ey]|relevant|interval|other|further|much))*"
    r" (?:change[ds]?|increase[ds]?|decreased?|improve(?:d|ment)|worsen(?:ed|ing)|differen(?:ce|t)|progress(?:ed|ion))",
    r"not only",
    r"not necessarily",
)
"""Looks like a negation and is none: it tells what a thing has not become."""

NEGATED_BEFORE = words(
    r"no", r"not", r"without", r"nor", r"neither", r"never", r"absence of", r"absent", r"negative for",
    r"free (?:of|from)", r"clear of", r"lacks?", r"lack of", r"rather than",
    r"(?:interval |complete )?(?:resolution|clearing|removal) of", r"resolved", r"denies", r"excludes",
    r"rules out", r"ruled out for",
)  # fmt: skip
"""Denies what follows."""

NEGATED_AFTER = words(
    r"(?:is|are|was|were) (?:now |currently )?(?:absent|excluded|ruled out)",
    r"not (?:clearly |definitely |well )?"
    r"(?:seen|present|identified|evident|visuali[sz]ed|demonstrated|detected|appreciated|noted|apparent|suspected)",
    r"(?:has|have)(?: \w+ly)?(?: now| since| all)? (?:resolved|cleared|disappeared|gone)",
    r"(?:is|are) (?:now |completely )?(?:resolved|gone)",
    r"no longer(?: \w+)?",
    r"(?:has|have|was|were)(?: now| since)?(?: been)? (?:removed|withdrawn|extracted|drained)",
)
"""Denies what precedes."""

HISTORY = re.compile(
    r"\b(?:history of|prior|previous|previously (?:seen|noted|described|treated)|former) (?:[a-z\-]+ ){0,3}$"
)
"""Directly before a mention: it tells of former times …"""

STILL = words(
    r"unchanged", r"stable", r"persist\w*", r"again", r"remains?", r"continu\w+", r"increas\w+", r"decreas\w+",
    r"larger", r"smaller", r"worse\w*", r"improv\w+", r"similar", r"still", r"chang\w*", r"redemonstrated", r"now",
)  # fmt: skip
"""… unless the statement goes on to how it is now."""

_TURNS = (
    "but", "however", "although", "though", "except(?: for)?", "while", "whereas", "which", "yet", "nevertheless",
    "apart from", "aside from", "other than", "due to", "secondary to", "because of", "as well as", "in the setting of",
)  # fmt: skip
TURN = re.compile(rf",? \b(?:{'|'.join(_TURNS)})\b|,? and (?=(?:the|there|a|an)\b)|, (?=there (?:is|are)\b)|; |: ")
"""Where one statement ends and the next begins."""

VERB = words(
    "is", "are", "was", "were", "has", "have", "had", "appears?", "remains?", "demonstrates?", "shows?", "seems?"
)

DEGREE = re.compile(
    r"(?:and )?(?:new|mild\w*|moderate\w*|severe\w*|minimal\w*|slight\w*|marked\w*|small|large|tiny|trace|massive|"
    r"stable|unchanged|persistent|increas\w+|decreas\w+|improv\w+|worsen\w+|likely|possibl\w|probabl\w|patchy|bilateral|left|"
    r"right)\b"
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
    r"possibl[ey]", r"possibility of", r"may", r"might", r"could", r"suspicio(?:us|n) (?:for|of)",
    r"concern(?:ing)? for", r"worrisome for", r"questionable", r"question of", r"questioned", r"equivocal",
    r"(?:cannot|can not|could not|not|difficult to|hard to)(?: \w+ly)? (?:exclude|rule out)", r"potential(?:ly)?",
    r"perhaps", r"versus", r"vs\.?", r"less likely", r"consider", r"rule out", r"if there is", r"whether",
    r"(?:not|no) certain", r"borderline",
)  # fmt: skip
_DOUBT_AFTER = (
    r"(?:cannot|can not|could not|not)(?: \w+ly)?(?: be)?(?: \w+ly)? (?:excluded|ruled out)",
    r"(?:is|are) (?:not \w+ly )?(?:possible|questioned|uncertain|equivocal|considered|not certain)",
    r"(?:may|might|could) be present", r"should be considered", r"difficult to exclude", r"versus", r"vs\.?",
    r"in question",
)  # fmt: skip
_LEANING_BEFORE = (
    r"probabl[ey]", r"likely", r"suspect(?:ed|s)?", r"suggest(?:s|ing|ive of|ion of)?", r"presum(?:ed|ably)",
)  # fmt: skip
_LEANING_AFTER = (r"(?:is|are) (?:\w+ )?(?:likely|probable|suspected|suggested|presumed)",)
_UNLIKELY = (r"(?:is|are) (?:\w+ )?unlikely", r"unlikely")

READERS = {
    "chexpert": Reader(
        words(*_DOUBT_BEFORE, *_LEANING_BEFORE), words(*_DOUBT_AFTER, *_LEANING_AFTER), words(*_UNLIKELY)
    ),
    "negbio": Reader(words(*_DOUBT_BEFORE), words(*_DOUBT_AFTER, *_UNLIKELY), words(r"(?:is|are) refuted")),
}
"""Table → its reader. They differ where the real tables do, in doubt: what is likely, suspected or suggested is in
doubt to the first and there to the second; what is unlikely is not there to the first and in doubt to the second."""
