"""Labels read in the text of a report, as CheXpert's labeller does: no truth, no grammar, and errors of its own.

Sentence by sentence: each mention of an observation is affirmed, unless a denial or a doubt reaches it. Of a report's
mentions, affirmed wins over doubted and doubted over denied; what is not mentioned stays blank.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from neuroconcepts_ray.phantom.cues import (
    DEGREE,
    HISTORY,
    NEGATED_AFTER,
    NEGATED_BEFORE,
    PSEUDO,
    READERS,
    STILL,
    TURN,
    VERB,
    Reader,
)
from neuroconcepts_ray.phantom.mentions import ANY_MENTION, LABELS, MENTIONS, NORMALS

_TITLE = re.compile(r"^[ \t]*([A-Za-z][A-Za-z &/]{2,40}?)[ \t]*:", re.MULTILINE)
_OBSERVED = ("findings", "impression", "impressions", "conclusion", "conclusions", "findings and impression")
_ASKED = (
    "indication", "history", "clinical history", "clinical information", "comparison", "comparisons", "technique",
    "examination", "exam", "reason for exam", "reason for examination", "procedure", "study", "recommendation",
    "recommendations", "notification", "final report",
)  # fmt: skip
_HEADING = re.compile(r"(?:^|(?<=\. )|(?<=\n))[ \t]*[A-Z][A-Z &/,]{2,40}:")
_ITEM = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•])[ \t]+", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[a-z0-9)])[.!]+(?=\s|$)|\?|\n\s*\n", re.IGNORECASE)


def observations(report: str) -> str:
    """Findings and impression, or where a report has neither title, all but what was asked and compared."""
    titles = [match for match in _TITLE.finditer(report) if match[1].strip().lower() in (*_OBSERVED, *_ASKED)]
    bounds = [*(match.start() for match in titles[1:]), len(report)]
    parts = [
        (match[1].strip().lower(), report[match.end() : stop]) for match, stop in zip(titles, bounds, strict=False)
    ]
    observed = [body for title, body in parts if title in _OBSERVED]
    if observed:
        return "\n\n".join(observed)
    # A narrative without a title: what follows the last blank line.
    blocks = [block for block in re.split(r"\n\s*\n", report.strip()) if block.strip()]
    return _TITLE.sub("", blocks[-1]) if blocks else ""


def sentences(text: str) -> list[str]:
    """Lower-case sentences with single spaces, without sub-headings ("LUNGS:") and list numbers."""
    plain = _HEADING.sub(" ", _ITEM.sub("\n\n", text))
    parts = (" ".join(part.lower().split()) for part in _SENTENCE.split(plain))
    return [part for part in parts if part.strip(" .")]


def label_report(report: str, reader: str = "chexpert") -> dict[str, float]:
    """The labels of a report.

    Args:
        report: Its text, whole.
        reader: "chexpert" or "negbio": how doubt is taken (:data:`~neuroconcepts_ray.phantom.cues.READERS`).

    Returns:
        Label → 1.0 present, 0.0 absent, -1.0 uncertain, in the order of
        :data:`~neuroconcepts_ray.phantom.mentions.LABELS`; nothing where the report does not mention it. "No
        Finding" is 1.0 where nothing but support devices is present or uncertain.
    """
    found: dict[str, float] = {}
    for sentence in sentences(observations(report)):
        for label, value in label_sentence(sentence, reader):
            if _RANK[value] > _RANK.get(found.get(label), 0):
                found[label] = value
    if all(value == 0.0 for label, value in found.items() if label != "Support Devices"):
        found["No Finding"] = 1.0
    return {label: found[label] for label in LABELS if label in found}


_RANK = {None: 0, 0.0: 1, -1.0: 2, 1.0: 3}


@lru_cache(maxsize=1 << 16)
def label_sentence(sentence: str, reader: str) -> tuple[tuple[str, float], ...]:
    """The mentions of one sentence of :func:`sentences`, each with its value."""
    how = READERS[reader]
    plain = PSEUDO.sub(" changed ", sentence)
    return tuple(mention for statement in _statements(plain) for mention in _read(statement, how))


def _statements(sentence: str) -> Iterator[str]:
    """The sentence cut where one statement ends and the next begins."""
    start = 0
    for turn in TURN.finditer(sentence):
        yield sentence[start : turn.start()].strip()
        start = turn.end()
    yield sentence[start:].strip()


def _reach(statement: str, start: int) -> int:
    """Where that ends which a word at ``start`` denies or doubts: at a comma that begins a new statement.

    "No effusion, consolidation or pneumothorax" is a list to its "or"; in "no effusion, mild cardiomegaly" the comma
    ends it.
    """
    at = statement.find(",", start)
    while at >= 0:
        rest = statement[at + 1 :].strip()
        part = rest.partition(",")[0]
        # What stands before the "or" is an item of the list, if it makes no statement.
        listed = re.search(r"\b(?:or|nor)\b", rest) and not VERB.search(re.split(r"\b(?:or|nor)\b", part)[0])
        if not listed and (VERB.search(part) or DEGREE.match(part)):
            return at
        at = statement.find(",", at + 1)
    joined = re.compile(r" and (?:mild|moderate|severe|small|large|new|stable|unchanged)").search(statement, start)
    return joined.start() if joined and " or " not in statement[start : joined.start()] else len(statement)


def _reached(statement: str, how: Reader) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Spans that are denied, and spans that are doubted."""
    denied: list[tuple[int, int]] = []
    doubted: list[tuple[int, int]] = []
    begins = [match.start() for cues in (how.doubt_before, NEGATED_BEFORE) for match in cues.finditer(statement)]
    for cues, spans in ((NEGATED_BEFORE, denied), (how.doubt_before, doubted)):
        for match in cues.finditer(statement):
            later = [begin for begin in begins if begin >= match.end()]
            spans.append((match.start(), min([_reach(statement, match.end()), *later])))
    for cues, spans in ((NEGATED_AFTER, denied), (how.negated_after, denied), (how.doubt_after, doubted)):
        for match in cues.finditer(statement):
            spans.append((_backward(statement, match.start()), match.end()))
    return denied, doubted


def _backward(statement: str, stop: int) -> int:
    """Where that begins which a word before ``stop`` denies: after an earlier verb's statement."""
    before = statement[:stop]
    # The cue's own verb ("is" of "is not seen") is none of an earlier statement.
    verbs = [match.end() for match in VERB.finditer(before) if match.end() < stop - 1]
    if not verbs:
        return 0
    breaks = [match.end() for match in re.finditer(r",| and ", before) if match.start() >= verbs[-1]]
    return breaks[0] if breaks else 0


def _read(statement: str, how: Reader) -> Iterator[tuple[str, float]]:
    normal = [(label, match) for label, pattern in NORMALS for match in pattern.finditer(statement)]
    if not normal and not ANY_MENTION.search(statement):
        return
    denied, doubted = _reached(statement, how)
    for label, match in normal:
        yield label, -1.0 if _touches(match, doubted) else 0.0
    told = {label for label, _ in normal}
    for label, pattern in MENTIONS:
        for match in pattern.finditer(statement):
            if label in told:
                continue
            # Doubt wins over denial: "pneumonia is not excluded".
            if _touches(match, doubted):
                yield label, -1.0
            elif _touches(match, denied) or (
                HISTORY.search(statement[: match.start()]) and not STILL.search(statement)
            ):
                yield label, 0.0
            else:
                yield label, 1.0


def _touches(match: re.Match[str], spans: list[tuple[int, int]]) -> bool:
    return any(start < match.end() and match.start() < stop for start, stop in spans)
