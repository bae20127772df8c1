"""What can be asked, and what it comes down to: neurons with weights, what must and must not fire, who may be a hit."""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.errors import ConfigError, NotFound
from neuroconcepts_ray.naming.tables import Name
from neuroconcepts_ray.retrieval.ranking import Clause, Example, Filters, Ranking, Weighting, Weights

TOP = 20

DEEPEST = 10_000
"""Last rank that can be asked for: paging beyond it is a job for the bulk neighbours."""

NEGATIVE = 0.5
"""Weight of the mean negative example against the mean positive one (Rocchio 1971; γ/β)."""

Exclude = Literal["group", "study", "self", "none"]
"""What of the examples may not be a hit: their patients (studies and selves included), studies, selves, or nothing."""

Word = Annotated[str, Field(max_length=200)]
"""Text that names something: whatever is longer names nothing here, and would only cost time."""

STRONGEST = 1e6
"""Largest threshold and factor: squares of them are far from overflow."""

Concept = int | Word
"""A neuron, or the name of one or several."""


class Fires(StrictModel):
    """A concept that fires, perhaps strongly enough."""

    concept: Concept
    """A neuron's number, or a name: one of its neurons suffices."""
    at_least: float = Field(0.0, ge=0, le=STRONGEST)
    """Activation from which on it counts as firing."""


class Query(StrictModel):
    """One question. Examples, concepts or both rank; clauses and filters say who may be ranked at all."""

    like: list[Word] = Field([], max_length=100)
    """Images that hits shall be like."""
    unlike: list[Word] = Field([], max_length=100)
    """Images that hits shall not be like; they count half as much."""
    all_of: list[Fires] = Field([], max_length=64)
    """Concepts that must all fire in a hit."""
    any_of: list[Concept] = Field([], max_length=64)
    """Concepts by which hits are ranked, without any of them being a must."""
    none_of: list[Fires] = Field([], max_length=64)
    """Concepts that must not fire in a hit."""
    text: str = Field("", max_length=200)
    """Words of names: their neurons join ``any_of``."""
    without: list[Concept] = Field([], max_length=64)
    """Concepts left out of the likeness: hits may have them or not."""
    boost: dict[Word, Annotated[float, Field(ge=-STRONGEST, le=STRONGEST)]] = Field({}, max_length=64)
    """Factor by concept: above 1 more of it, between 0 and 1 less, below 0 its opposite."""
    weighting: Weighting = "none"
    """``idf``: rare concepts weigh more. ``bm25``: they do, and large activations saturate."""
    where: dict[Word, list[Word]] = Field({}, max_length=32)
    """Allowed values by column: view, role, ``label:<name>`` ("1", "0") and whatever else the archive has. Bounds such
    as ">60" and "<=75" must all hold; of other values one must."""
    ids: list[Word] | None = Field(None, max_length=100_000)
    """Only these images."""
    exclude: Exclude = "group"
    """What of the examples' own patients may not be a hit."""
    top: int = Field(TOP, ge=1, le=DEEPEST)
    """Hits on a page."""
    offset: int = Field(0, ge=0, le=DEEPEST)
    """Hits before the page."""
    fold: float | None = Field(None, gt=0.5, le=1)
    """Fold hits whose codes' cosine is at least this into the better one: near-duplicates of one film."""

    @property
    def depth(self) -> int:
        """Last rank that is needed.

        Raises:
            ConfigError: It is beyond :data:`DEEPEST`.
        """
        if self.top + self.offset > DEEPEST:
            raise ConfigError("a page lies too deep", value=self.top + self.offset, limit=f"rank {DEEPEST}")
        return self.top + self.offset


def find_concept(concept: Concept, names: Mapping[int, Name], n: int) -> tuple[int, ...]:
    """The neurons that a concept means.

    Args:
        concept: A number (also as text), or a name, upper and lower case alike.
        names: Names by neuron.
        n: Number of neurons.

    Raises:
        NotFound: No such neuron or name; the nearest names are suggested.
    """
    if isinstance(concept, int) or concept.strip().isdecimal():
        j = int(concept)
        if not 0 <= j < n:
            raise NotFound("the space has no such neuron", value=j, limit=f"0…{n - 1}")
        return (j,)
    wanted = _plain(concept)
    found = tuple(j for j, name in sorted(names.items()) if _plain(name.name) == wanted)
    if not found:
        raise unknown_concept(concept, names)
    return found


def find_words(text: str, names: Mapping[int, Name]) -> tuple[int, ...]:
    """The neurons whose names have all words of a text.

    Raises:
        NotFound: There is none; the nearest names are suggested.
    """
    words = set(_plain(text).split())
    found = tuple(j for j, name in sorted(names.items()) if words and words <= set(_plain(name.name).split()))
    if not found:
        raise unknown_concept(text, names)
    return found


def unknown_concept(text: str, names: Mapping[int, Name]) -> NotFound:
    """The error of a name that no neuron has, with those nearest: by spelling, then by shared words."""
    known = sorted({name.name for name in names.values()})
    plain = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(text), plain, n=5, cutoff=0.5)
    words = set(_plain(text).split())
    sharing = [one for one in plain if words & set(one.split()) and one not in close]
    near = [plain[one] for one in (close + sharing)[:5]] or known[:5]
    remedy = f"Nearest names: {', '.join(near)}" if near else "No neuron of this space has a name; ask by number"
    return NotFound("no neuron has this name", value=text, remedy=remedy)


# Each concept of a question is compared with every name: without this a question of 300 names costs seconds.
@functools.lru_cache(maxsize=1 << 15)
def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def resolve(
    query: Query,
    examples: Sequence[Example],
    opposites: Sequence[Example],
    names: Mapping[int, Name],
    n: int,
    weights: Weights,
    idf: np.ndarray,
) -> tuple[Ranking, Filters]:
    """What a query comes down to.

    Args:
        query: The question.
        examples: Codes of what hits shall be like; an uploaded image among them.
        opposites: Codes of what they shall not be like.
        names: Names by neuron.
        n: Number of neurons.
        weights: The weights of the query's weighting.
        idf: [n], inverse document frequency, for sums.

    Raises:
        NotFound: An unknown concept.
        ConfigError: Nothing to rank by.
    """

    def neurons(concepts: Iterable[Concept]) -> list[int]:
        return [j for concept in concepts for j in find_concept(concept, names, n)]

    boost = {j: factor for concept, factor in query.boost.items() for j in find_concept(concept, names, n)}
    must: list[Clause] = [(find_concept(one.concept, names, n), one.at_least) for one in query.all_of]
    must_not = [(j, one.at_least) for one in query.none_of for j in find_concept(one.concept, names, n)]
    if examples or opposites:
        vector = _likeness(examples, opposites)
        usual = float(np.mean(np.abs(list(vector.values())))) if vector else 0.0
        for j, factor in boost.items():
            vector[j] = factor * vector.get(j, usual)
        for j in neurons(query.without):
            vector.pop(j, None)
        kind: Literal["cosine", "bm25"] = "bm25" if query.weighting == "bm25" else "cosine"
        vector = {j: w * idf[j] for j, w in vector.items()} if kind == "bm25" else _scaled(vector, weights)
        ranking = Ranking.of(kind, vector, must=tuple(must), must_not=tuple(must_not))
    else:
        asked = [j for clause, _ in must for j in clause] + neurons(query.any_of)
        asked += find_words(query.text, names) if query.text else ()
        if not asked:
            raise ConfigError(
                "a query needs something to rank by",
                remedy="Name images (like), concepts (all_of, any_of) or words of concepts (text)",
            )
        dropped = set(neurons(query.without))
        rare = idf if query.weighting != "none" else np.ones(n)
        sums = {j: boost.get(j, 1.0) * float(rare[j]) for j in asked if j not in dropped}
        ranking = Ranking.of(
            "bm25" if query.weighting == "bm25" else "sum", sums, must=tuple(must), must_not=tuple(must_not)
        )
    return ranking, _filters(query, [*examples, *opposites])


def _likeness(examples: Sequence[Example], opposites: Sequence[Example]) -> dict[int, float]:
    """Mean unit vector of the examples less half that of the opposites."""
    vector: dict[int, float] = {}
    for some, sign in ((examples, 1.0), (opposites, -NEGATIVE)):
        for one in some:
            length = float(np.sqrt(np.square(one.values).sum()))
            for j, value in zip(one.neurons.tolist(), one.values.tolist(), strict=True):
                vector[j] = vector.get(j, 0.0) + sign * value / (length * len(some))
    return vector


def _scaled(vector: Mapping[int, float], weights: Weights) -> dict[int, float]:
    """w_j = ω_j² q_j / ‖ω ∘ q‖, so that w·z / ‖ω ∘ z‖ is the cosine of the weighted codes."""
    omega = weights.omega
    scale = {j: 1.0 if omega is None else float(omega[j]) for j in vector}
    length = float(np.sqrt(sum((scale[j] * q) ** 2 for j, q in sorted(vector.items()))))
    return {j: scale[j] ** 2 * q / length for j, q in vector.items()} if length > 0 else {}


def _filters(query: Query, examples: Sequence[Example]) -> Filters:
    column = {"group": "group", "study": "study", "self": "image_id"}.get(query.exclude)
    barred = set()
    if column is not None:
        for one in examples:
            value = {"group": one.group, "study": one.study, "image_id": one.image_id}[column]
            if value:
                barred.add((column, value))
    return Filters(
        columns=tuple((name, frozenset(values)) for name, values in sorted(query.where.items())),
        ids=None if query.ids is None else frozenset(query.ids),
        barred=tuple(sorted(barred)),
    )
