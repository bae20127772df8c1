"""The forms of the interface: what goes out, and errors."""

from typing import Any

from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.naming.tables import Name
from neuroconcepts_ray.retrieval import answer as answers


class Problem(StrictModel):
    """Why there is no answer."""

    what: str
    """What is wrong, in one sentence."""
    value: str | None = None
    """The value that was met."""
    limit: str | None = None
    """The bound, or the admissible values."""
    remedy: str | None = None
    """What can be done."""
    where: str | None = None
    """The field."""


class Shared(StrictModel):
    """A concept that query and hit share."""

    neuron: int
    """The neuron."""
    name: str | None
    """Its name; null if unnamed."""
    share: float
    """Its part of the score."""


class Hit(StrictModel):
    """One image that was found."""

    image_id: str
    """The image."""
    score: float
    """Cosine, weighted sum or BM25, as the answer's ``kind`` says."""
    metadata: dict[str, str]
    """Its columns, ``view`` and ``role`` among them."""
    shared: list[Shared]
    """Why it was found, largest share first; the shares sum to the score."""
    folded: list[str]
    """Near-duplicates that were folded into it."""


class Answer(StrictModel):
    """What a question gave."""

    kind: str
    """What the scores are: ``cosine``, ``sum`` or ``bm25``."""
    asked: dict[int, float]
    """Weight of each neuron that scored, as the question was understood."""
    version: int
    """Version of the index that answered."""
    partial: bool
    """Whether a shard did not answer in time, so that better hits may be missing."""
    missing: list[str]
    """The shards that did not."""
    hits: list[Hit]
    """Best first."""


class Uploaded(StrictModel):
    """What an uploaded image gave."""

    far: bool
    """Whether the image is unlike those that the concepts were fitted on: its hits mean little then."""
    distance: float
    """Its distance from them."""
    threshold: float
    """The distance from which on an image is far."""
    code: dict[int, float]
    """Activation of each neuron that fires for it."""
    answer: Answer
    """Images like it."""


class Concept(StrictModel):
    """A neuron, and the figures that its name stands on; null where it is unnamed."""

    neuron: int
    """The neuron."""
    images: int
    """Images in which it fires."""
    name: str | None = None
    """Its name."""
    polarity: str | None = None
    """Whether it answers to the presence or to the absence of the term."""
    auroc: float | None = None
    """Activation → term, on images that the name was not made from."""
    low: float | None = None
    """Lower bound of its 95 % interval over patients."""
    high: float | None = None
    """Upper bound."""
    q: float | None = None
    """False discovery rate at which the name holds."""
    positives: int | None = None
    """Studies with the term, one per patient."""
    n: int | None = None
    """Studies in all."""


class Concepts(StrictModel):
    """Named neurons."""

    total: int
    """How many there are, beyond this page."""
    concepts: list[Concept]
    """Those of the page, by neuron."""


class Strongest(StrictModel):
    """A neuron and the images in which it is strongest."""

    concept: Concept
    """The neuron."""
    answer: Answer
    """The images."""


class SegmentStats(StrictModel):
    """One segment."""

    key: str
    """What it is made of."""
    images: int
    """Its images."""
    removed: int
    """Those of them that tombstones took."""


class Stats(StrictModel):
    """The index in figures."""

    images: int
    """Images that can be hits."""
    neurons: int
    """Neurons of the space."""
    postings: int
    """Neurons that fire, summed over the images."""
    l0: float
    """Mean number of neurons that fire in an image."""
    dead_neurons: int
    """Neurons that fire nowhere."""
    posting_length: dict[str, int]
    """Quantiles of the number of images in which a neuron fires."""
    segments: list[SegmentStats]
    """The segments."""
    tombstones: int
    """Images removed and not yet compacted away."""
    version: int
    """Version of the index."""
    artifact: str
    """Its fingerprint."""
    bytes: int
    """Size of its files."""
    shards: dict[str, list[str]]
    """Segments of each shard; empty where one process holds all."""


class Health(StrictModel):
    """Whether questions can be answered."""

    status: str
    """``ok``."""
    version: int
    """Version of the index that is served."""


def answer_of(found: answers.Answer, version: int) -> dict[str, Any]:
    """An answer as it goes out, in the form of :class:`Answer`.

    Plain data: making a checked object of each of some 400 shared concepts took as long as the search.
    """
    hits = [
        {
            "image_id": hit.image_id,
            "score": hit.score,
            "metadata": dict(hit.metadata),
            "shared": [{"neuron": one.neuron, "name": one.name, "share": one.share} for one in hit.shared],
            "folded": list(hit.folded),
        }
        for hit in found.hits
    ]
    return {
        "kind": found.kind,
        "asked": dict(found.asked),
        "version": version,
        "partial": found.partial,
        "missing": list(found.missing),
        "hits": hits,
    }


def concept_of(neuron: int, images: int, name: Name | None) -> Concept:
    """A neuron as it goes out."""
    if name is None:
        return Concept(neuron=neuron, images=images)
    figures: dict[str, Any] = {
        key: getattr(name, key) for key in ("name", "polarity", "auroc", "low", "high", "q", "positives", "n")
    }
    return Concept(neuron=neuron, images=images, **figures)
