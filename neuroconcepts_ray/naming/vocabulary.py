"""Which terms are tried as names, and which study has which."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from neuroconcepts_ray.naming.text import Polarity

CLOSED = 0.9
"""A term is a fragment if a longer one contains it in this share of the studies that have it."""


@dataclass(frozen=True, order=True)
class Term:
    """An n-gram with one polarity: affirmed and negated mentions are separate features.

    Attributes:
        words: The n-gram.
        polarity: ``present`` if it stands for affirmed mentions, ``absent`` for negated ones.
    """

    words: str
    polarity: Literal["present", "absent"]

    @property
    def name(self) -> str:
        """How a neuron of this term is called."""
        return self.words if self.polarity == "present" else f"no {self.words}"

    @property
    def length(self) -> int:
        """Words of the n-gram."""
        return self.words.count(" ") + 1


_KINDS: dict[Polarity, Literal["present", "absent"]] = {"affirmed": "present", "negated": "absent"}


def _support(parsed: Sequence[Mapping[str, Polarity]]) -> Counter[Term]:
    return Counter(Term(words, _KINDS[p]) for report in parsed for words, p in report.items() if p in _KINDS)


def _fragments(support: Counter[Term], max_words: int) -> set[Term]:
    """Terms that a longer one makes redundant: "pleural" where it is nearly always "pleural effusion".

    An n-gram too long to be a name itself counts only where it goes on to the right, for English heads stand last:
    "small left pleural" is then a fragment of "small left pleural effusion", "left pleural effusion" is not.
    """
    found = set()
    for longer, count in support.items():
        words = longer.words.split()
        for start in range(len(words)):
            for stop in range(start + 1, len(words) + 1):
                if stop - start == len(words) or (len(words) > max_words and start > 0):
                    continue
                part = Term(" ".join(words[start:stop]), longer.polarity)
                if part in support and count >= CLOSED * support[part]:
                    found.add(part)
    return found


def vocabulary(
    parsed: Sequence[Mapping[str, Polarity]], *, min_groups: int, max_terms: int, max_words: int
) -> list[Term]:
    """The terms worth trying, most frequent first.

    Args:
        parsed: Terms of one report per patient, n-grams up to ``max_words + 1``.
        min_groups: Patients that must have a term, and that must lack it.
        max_terms: Most terms returned.
        max_words: Longest n-gram returned.
    """
    support = _support(parsed)
    frequent = Counter({term: count for term, count in support.items() if count >= min_groups})
    fragments = _fragments(frequent, max_words)
    kept = [
        term
        for term, count in frequent.items()
        if count <= len(parsed) - min_groups and term.length <= max_words and term not in fragments
    ]
    return sorted(kept, key=lambda term: (-support[term], term))[:max_terms]


def presence(parsed: Sequence[Mapping[str, Polarity]], terms: Sequence[Term]) -> sparse.csr_array:
    """Which report has which term: [reports, terms] of 0 and 1 in float64."""
    column = {term: at for at, term in enumerate(terms)}
    rows, columns = [], []
    for row, report in enumerate(parsed):
        for words, polarity in report.items():
            at = column.get(Term(words, _KINDS[polarity])) if polarity in _KINDS else None
            if at is not None:
                rows.append(row)
                columns.append(at)
    shape = (len(parsed), len(terms))
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
