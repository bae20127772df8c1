"""From observations to terms with polarity: sentences, negation and doubt, n-grams. Pure; nothing is logged."""

import re
from collections.abc import Iterator
from typing import Literal

from neuroconcepts_ray.naming import words

Polarity = Literal["affirmed", "negated", "uncertain"]

_SENTENCE = re.compile(r"(?<=[a-z0-9)%\]])[.;!?]+(?=\s|$)|\n[ \t]*\n|\n[ \t]*(?=(?:\d+[.)]|[-*•])[ \t])", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W\d_]+(?:['’\-][^\W\d_]+)*|\d[\w.,:/\-]*|_+|[^\w\s]")
_WORD = re.compile(r"[^\W\d_]")

_CUES: dict[tuple[str, ...], tuple[str, ...]] = {}
for _phrases, _role in (
    (words.NEGATED_AFTER, "negated<"),
    (words.NEGATED_BEFORE, "negated>"),
    (words.UNCERTAIN_AFTER, "uncertain<"),
    (words.UNCERTAIN_BEFORE, "uncertain>"),
    (words.TERMINATION, "end"),
    (words.PSEUDO, "pseudo"),
):
    for _phrase in _phrases:
        _key = tuple(_phrase.split())
        _CUES[_key] = (*_CUES.get(_key, ()), _role)
_LONGEST = max(len(key) for key in _CUES)


def sentences(text: str) -> list[str]:
    """Sentences; line breaks inside one are spaces, blank lines and list items end it."""
    return [" ".join(part.split()) for part in _SENTENCE.split(text) if part and part.strip()]


def tokenise(sentence: str) -> list[str]:
    """Lower-case words (with inner hyphens), numbers and punctuation marks, in order."""
    return [token.lower().replace("’", "'") for token in _TOKEN.findall(sentence)]


def _cues(tokens: list[str]) -> list[tuple[int, int, tuple[str, ...]]]:
    """Cues as (start, stop, roles), longest first match, from left to right."""
    found = []
    at = 0
    while at < len(tokens):
        for length in range(min(_LONGEST, len(tokens) - at), 0, -1):
            roles = _CUES.get(tuple(tokens[at : at + length]))
            if roles:
                found.append((at, at + length, roles))
                at += length
                break
        else:
            at += 1
    return found


def _scope_after(tokens: list[str], start: int, stops: list[int]) -> int:
    """Where the scope of a preceding cue ends: a terminating cue, or a comma that begins a new statement."""
    end = min((stop for stop in stops if stop >= start), default=len(tokens))
    for at in range(start, end):
        if tokens[at] in ("(", ")", ":"):
            return at
        if tokens[at] != ",":
            continue
        rest = tokens[at + 1 : end]
        part = rest[: rest.index(",")] if "," in rest else rest
        lists_on = "or" in rest or "nor" in rest
        if not lists_on and (set(part) & words.VERBS or (part and part[0] in words.DEGREES)):
            return at
    return end


def _scope_before(tokens: list[str], stop: int, starts: list[int]) -> int:
    """Where the scope of a following cue begins: after the previous cue, or after an earlier statement's verb."""
    begin = max((start for start in starts if start <= stop), default=0)
    for at in range(stop - 1, begin - 1, -1):
        if tokens[at] in ("(", ")", ":"):
            return at + 1
        if tokens[at] in words.VERBS:
            breaks = [k for k in range(at, stop) if tokens[k] in (",", "and")]
            return breaks[0] + 1 if breaks else at + 1
    return begin


def polarities(tokens: list[str]) -> list[Polarity | None]:
    """The polarity of every token of a sentence; None for the cues themselves.

    A cue that may work both ways ("absent") works backwards at the end of its statement. Doubt wins over negation where
    their scopes meet, as in CheXpert's labeler ("no definite pneumonia, cannot be excluded").
    """
    cues = _cues(tokens)
    marks: list[Polarity | None] = ["affirmed"] * len(tokens)
    # A pseudo-negation neither negates nor ends anything; every other cue bounds the scopes of the following kind.
    ends = [start for start, _, roles in cues if "end" in roles]
    bounds = [stop for _, stop, roles in cues if roles != ("pseudo",)]
    for start, stop, roles in cues:
        kinds = [role for role in roles if role[-1] in "<>"]
        if not kinds:
            continue
        if len(kinds) == 2:
            last = stop == len(tokens) or tokens[stop] in (",", ")", "and", "but", "or")
            kinds = [role for role in kinds if role.endswith("<" if last and start > 0 else ">")]
        polarity: Polarity = "negated" if kinds[0].startswith("negated") else "uncertain"
        if kinds[0].endswith(">"):
            scope = range(stop, _scope_after(tokens, stop, [*ends, *_turns(cues, stop)]))
        else:
            scope = range(_scope_before(tokens, start, [b for b in bounds if b <= start]), start)
        for at in scope:
            if marks[at] != "uncertain":
                marks[at] = polarity
    for start, stop, _ in cues:
        marks[start:stop] = [None] * (stop - start)
    return marks


def _turns(cues: list[tuple[int, int, tuple[str, ...]]], after: int) -> list[int]:
    """Starts of later cues that speak of what follows them: each begins a scope of its own."""
    return [start for start, _, roles in cues if start >= after and all(role[-1] == ">" for role in roles)]


def terms(observations: str, max_words: int = 3) -> dict[str, Polarity]:
    """The n-grams of what a report observes, each with one polarity.

    An n-gram lies within one sentence and one polarity, crosses no punctuation, number, date, cue or barred word, and
    neither begins nor ends with a stop word, and says
    what, not only where or how much. Where a report mentions a term more than once, affirmed wins over
    uncertain, and uncertain over negated.

    Args:
        observations: Findings, impression or narrative, as the catalog cut them.
        max_words: Longest n-gram.
    """
    rank = {"negated": 0, "uncertain": 1, "affirmed": 2}
    found: dict[str, Polarity] = {}
    for sentence in sentences(observations):
        tokens = tokenise(sentence)
        for term, polarity in _ngrams(tokens, polarities(tokens), max_words):
            if rank[polarity] > rank.get(found.get(term, ""), -1):
                found[term] = polarity
    return found


def _ngrams(tokens: list[str], marks: list[Polarity | None], max_words: int) -> Iterator[tuple[str, Polarity]]:
    usable = [
        mark if _WORD.match(token) and token not in words.BARRED else None
        for token, mark in zip(tokens, marks, strict=True)
    ]
    for start, polarity in enumerate(usable):
        if polarity is None or tokens[start] in words.STOP:
            continue
        for stop in range(start + 1, min(start + max_words, len(tokens)) + 1):
            if usable[stop - 1] != polarity:
                break
            term = " ".join(tokens[start:stop])
            says_what = not words.EMPTY.issuperset(tokens[start:stop])
            if tokens[stop - 1] not in words.STOP and says_what and len(term) > 2:
                yield term, polarity
