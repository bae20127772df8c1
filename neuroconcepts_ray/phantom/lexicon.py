"""What one world speaks: a part of the pool of wordings, drawn from the seed of its words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from neuroconcepts_ray.phantom.wordings import (
    DEGREES,
    DEVICE_WORDS,
    FRAMES,
    MARGIN_WORDS,
    PLACES,
    SIZES,
    UNUSUAL,
    WORDINGS,
    Clause,
    Noun,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Lexicon:
    """What one world speaks.

    Args:
        wordings: Finding → its wordings.
        unusual: Finding → the rare wording that the world has of it, if any.
        devices: Kind of device → its names.
        degrees: Grade → (adjective, adverb) of severity.
        sizes: Grade → words of size.
        margins: Margin → its words.
        place: The noun behind upper, mid and lower.
        frames: Kind of sentence → its frames.
    """

    wordings: Mapping[str, tuple[Noun | Clause, ...]]
    unusual: Mapping[str, Noun]
    devices: Mapping[str, tuple[Noun, ...]]
    degrees: Mapping[str, tuple[tuple[str, str], ...]]
    sizes: Mapping[str, tuple[str, ...]]
    margins: Mapping[str, tuple[str, ...]]
    place: str
    frames: Mapping[str, tuple[str, ...]]


def _some(rng: np.random.Generator, options: Sequence[T], share: float, least: int = 1) -> tuple[T, ...]:
    """A part of the options, in random order."""
    count = max(min(least, len(options)), round(share * len(options)))
    return tuple(options[i] for i in rng.permutation(len(options))[:count])


@lru_cache(maxsize=8)
def draw_lexicon(words: int) -> Lexicon:
    """The part of the pool that a world speaks.

    Args:
        words: :attr:`neuroconcepts_ray.phantom.world.World.words`.
    """
    rng = np.random.default_rng(words)
    wordings: dict[str, tuple[Noun | Clause, ...]] = {}
    for name, pool in WORDINGS.items():
        # What has gone is told by a noun: each world has one.
        nouns = _some(rng, [wording for wording in pool if isinstance(wording, Noun)], 0.5, 2)
        clauses = _some(rng, [wording for wording in pool if isinstance(wording, Clause)], 0.5, 1)
        wordings[name] = (*nouns, *clauses)
    unusual = {name: wording for name, wording in UNUSUAL.items() if rng.random() < 0.5}
    return Lexicon(
        wordings,
        unusual,
        {kind: _some(rng, pool, 0.5) for kind, pool in DEVICE_WORDS.items()},
        {grade: _some(rng, pool, 0.5) for grade, pool in DEGREES.items()},
        {grade: _some(rng, pool, 0.5) for grade, pool in SIZES.items()},
        {margin: _some(rng, pool, 0.5) for margin, pool in MARGIN_WORDS.items()},
        PLACES[int(rng.integers(len(PLACES)))],
        {kind: _some(rng, pool, 0.6, 2) for kind, pool in FRAMES.items()},
    )
