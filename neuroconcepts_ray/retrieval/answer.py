"""Answers: hits with their reasons, folded and paged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from neuroconcepts_ray.naming.tables import Name
from neuroconcepts_ray.retrieval.ranking import Found, Ranking, Statistics


def display_name(neuron: int, names: Mapping[int, Name]) -> str:
    """What a neuron is called beside a number: its name if that held, otherwise honestly nothing."""
    name = names.get(neuron)
    return name.name if name else f"unnamed (neuron {neuron})"


class Shared(NamedTuple):
    """A neuron that query and hit share.

    Attributes:
        neuron: The neuron.
        name: Its name, None if unnamed.
        share: Its part of the score.
    """

    neuron: int
    name: str | None
    share: float


@dataclass(frozen=True)
class Hit:
    """One image that was found.

    Attributes:
        image_id: The image.
        score: Cosine of the codes; of a query by concepts alone, the weighted sum of activations.
        metadata: Its columns, ``view`` and ``role`` among them.
        shared: Why it was found, largest share first; the shares sum to the score.
        folded: Near-duplicates of it that would have been hits themselves, best first.
    """

    image_id: str
    score: float
    metadata: Mapping[str, str]
    shared: tuple[Shared, ...]
    folded: tuple[str, ...] = ()

    @property
    def view(self) -> str:
        """Its view."""
        return self.metadata.get("view", "")

    @property
    def role(self) -> str:
        """Its role."""
        return self.metadata.get("role", "")

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        shared = [{"neuron": one.neuron, "name": one.name, "share": one.share} for one in self.shared]
        plain: dict[str, Any] = {"image_id": self.image_id, "score": self.score, **self.metadata, "shared": shared}
        return plain | ({"folded": list(self.folded)} if self.folded else {})


@dataclass(frozen=True)
class Answer:
    """What a query gave.

    Attributes:
        hits: Best first.
        kind: What the score is: ``cosine``, ``sum`` or ``bm25``.
        asked: Weight of each neuron that scored, as the query was understood.
        partial: Whether a shard did not answer in time, so that better hits may be missing.
        missing: The shards that did not.
    """

    hits: tuple[Hit, ...]
    kind: str
    asked: Mapping[int, float]
    partial: bool = False
    missing: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "kind": self.kind,
            "asked": {str(j): w for j, w in self.asked.items()},
            "partial": self.partial,
            "missing": list(self.missing),
            "hits": [hit.to_dict() for hit in self.hits],
        }


def answer(
    found: Sequence[Found],
    ranking: Ranking,
    statistics: Statistics,
    names: Mapping[int, Name],
    *,
    offset: int = 0,
    top: int,
    missing: Sequence[str] = (),
) -> Answer:
    """Hits of a page with their reasons.

    Args:
        found: What the segments found, best first, folded already where it shall be.
        ranking: What was ranked by.
        statistics: Counts of the index.
        names: Names by neuron.
        offset: Hits before the page.
        top: Hits on the page.
        missing: Shards that did not answer.
    """
    asked = dict(zip(ranking.neurons.tolist(), ranking.weights.tolist(), strict=True))
    mean = max(statistics.postings / max(1, statistics.images), 1e-9) if ranking.kind == "bm25" else 1.0
    hits = tuple(_hit(one, ranking, asked, mean, names) for one in found[offset : offset + top])
    return Answer(hits, ranking.kind, asked, bool(missing), tuple(missing))


def _hit(
    one: Found, ranking: Ranking, asked: Mapping[int, float], mean_length: float, names: Mapping[int, Name]
) -> Hit:
    length = ranking.k1 * (1 - ranking.b + ranking.b * len(one.neurons) / mean_length)
    shares = []
    # A few dozen neurons: a dictionary is faster than any array here.
    for j, z in zip(one.neurons.tolist(), one.values.tolist(), strict=True):
        if j in asked:
            share = asked[j] * z
            if ranking.kind == "cosine":
                share /= one.norm
            elif ranking.kind == "bm25":
                share *= (ranking.k1 + 1) / (z + length)
            shares.append((-abs(share), j, share))
    shares.sort()
    shared = tuple([Shared(j, names[j].name if j in names else None, share) for _, j, share in shares])
    return Hit(one.image_id, one.score, one.metadata, shared, one.folded)


def fold(found: Sequence[Found], least: float) -> list[Found]:
    """Fold near-duplicates into the best of them.

    Args:
        found: Best first.
        least: Cosine of two codes from which on they are of one film.
    """
    if not found:
        return []
    values = [one.values / max(float(np.sqrt(np.square(one.values).sum())), 1e-300) for one in found]
    neurons = [one.neurons for one in found]
    ends = np.cumsum([0, *map(len, neurons)])
    n = 1 + max((int(some[-1]) for some in neurons if len(some)), default=0)
    # Sparse, for a dense product of each with each takes 40 s at a thousand hits.
    units = sparse.csr_array((np.concatenate(values), np.concatenate(neurons), ends), shape=(len(found), n))
    leads = np.zeros(len(found), bool)
    folded: dict[int, list[str]] = {}
    query = np.zeros(n)
    for at, one in enumerate(found):
        query[neurons[at]] = values[at]
        like = np.flatnonzero(leads & (units @ query >= least - 1e-12))
        query[neurons[at]] = 0
        if len(like):
            folded[int(like[0])].append(one.image_id)
        else:
            leads[at] = True
            folded[at] = []
    return [found[at]._replace(folded=(*found[at].folded, *more)) for at, more in folded.items()]
