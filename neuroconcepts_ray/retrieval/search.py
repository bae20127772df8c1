"""The search service: like this image, or strong in this neuron; exact, filtered first, with reasons."""

import bisect
import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.naming.tables import Name, load_names
from neuroconcepts_ray.retrieval.postings import Postings
from neuroconcepts_ray.retrieval.tables import IMAGES, POSTINGS, Images

TOP = 20

Exclude = Literal["group", "study", "self", "none"]
"""What may not be a hit: all of the query's patient (its study and itself included), its study, itself, or nothing."""

_SMALL = 20_000
"""Image ids among which a misspelt one is compared with each; beyond, with its neighbours in the alphabet."""


def display_name(neuron: int, names: Mapping[int, Name]) -> str:
    """What a neuron is called beside a number: its name if that held, otherwise honestly nothing."""
    name = names.get(neuron)
    return name.name if name else f"unnamed (neuron {neuron})"


@dataclass(frozen=True)
class Shared:
    """A neuron that query and hit share.

    Attributes:
        neuron: The neuron.
        name: Its name, None if unnamed.
        share: Its part of the score: q_j·d_j / (‖q‖ ‖d‖).
    """

    neuron: int
    name: str | None
    share: float


@dataclass(frozen=True)
class Hit:
    """One image that was found.

    Attributes:
        image_id: The image.
        score: Cosine of the codes; for a neuron query, the activation.
        view: Its view.
        role: Its role.
        shared: Why it was found, largest share first; the shares sum to the score.
    """

    image_id: str
    score: float
    view: str
    role: str
    shared: tuple[Shared, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        shared = [{"neuron": one.neuron, "name": one.name, "share": one.share} for one in self.shared]
        return {
            "image_id": self.image_id,
            "score": self.score,
            "view": self.view,
            "role": self.role,
            "shared": shared,
        }


class SearchService:
    """Queries over one index.

    Args:
        postings: Opened postings.
        images: What their rows stand for.
        names: Names by neuron.
    """

    def __init__(self, postings: Postings, images: Images, names: Mapping[int, Name] | None = None) -> None:
        self.postings = postings
        self.images = images
        self.names = dict(names or {})
        self._row = {image_id: row for row, image_id in enumerate(images.image_ids.tolist())}

    @classmethod
    def open(cls, lake: Lake, index: Manifest, names: Manifest | None = None) -> "SearchService":
        """Open a committed index, with the names of the same codes.

        Raises:
            InputError: The names were made from other codes, or a part is missing or damaged.
        """
        if names is not None and names.inputs["codes"] != index.inputs["codes"]:
            raise InputError(
                "these names are of other codes than this index",
                value=names.name,
                limit=index.name,
                remedy="Run `name` and `index` again",
            )
        images = Images.from_table(lake.table(index.part(IMAGES)))
        postings = Postings.open(lake.read(index.part(POSTINGS)), rows=len(images), n=int(index.facts["neurons"]))
        return cls(postings, images, load_names(lake, names) if names is not None else None)

    @functools.cached_property
    def codes(self) -> sparse.csr_array:
        """The codes by image, turned back from the postings when first needed."""
        return self.postings.codes()

    def row(self, image_id: str) -> int:
        """The row of an image.

        Raises:
            InputError: The index does not have it; the closest ids are named.
        """
        try:
            return self._row[image_id]
        except KeyError:
            close = ", ".join(self._closest(image_id))
            raise InputError(
                "the index does not have this image",
                value=image_id,
                remedy=f"Closest: {close}" if close else "The index is empty",
            ) from None

    def code(self, image_id: str) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """The neurons that fire for an image, ascending, and their activations."""
        row = self.row(image_id)
        span = slice(self.codes.indptr[row], self.codes.indptr[row + 1])
        return self.codes.indices[span], self.codes.data[span]

    def like(
        self,
        image_id: str,
        *,
        top: int = TOP,
        exclude: Exclude = "group",
        view: str | None = None,
        role: str | None = None,
    ) -> list[Hit]:
        """The images whose codes are most like that of an image, by cosine, exactly.

        Args:
            image_id: The query.
            top: Most hits; fewer come back where fewer images share a neuron with the query.
            exclude: What of the query's own patient may not be a hit.
            view: Only hits of this view.
            role: Only hits of this role.

        Raises:
            InputError: Unknown image, view or role; ``top`` below 1.
        """
        row = self.row(image_id)
        allowed = self._allowed(top, view, role)
        if exclude != "none":
            allowed[row] = False
        if exclude in ("study", "group"):
            allowed &= self.images.studies != self.images.studies[row]
        if exclude == "group":
            allowed &= self.images.groups != self.images.groups[row]
        neurons, values = self.code(image_id)
        rows, scores = self.postings.nearest(neurons, values, self.images.norms, top, allowed)
        query = np.zeros(self.postings.n)
        query[neurons] = values
        return [
            self._hit(hit, score, query * (1 / (self.images.norms[row] * self.images.norms[hit])))
            for hit, score in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def neuron(self, j: int, *, top: int = TOP, view: str | None = None, role: str | None = None) -> list[Hit]:
        """The images in which a neuron is strongest.

        Raises:
            InputError: No such neuron; unknown view or role; ``top`` below 1.
        """
        if not 0 <= j < self.postings.n:
            raise InputError("the space has no such neuron", value=j, limit=f"0…{self.postings.n - 1}")
        rows, scores = self.postings.strongest(j, top, self._allowed(top, view, role))
        only = np.zeros(self.postings.n)
        only[j] = 1.0
        return [self._hit(hit, score, only) for hit, score in zip(rows.tolist(), scores.tolist(), strict=True)]

    def _allowed(self, top: int, view: str | None, role: str | None) -> Bool[np.ndarray, " m"]:
        if top < 1:
            raise InputError("top must be at least 1", value=top)
        allowed = np.ones(len(self.images), dtype=bool)
        for what, wanted, column in (("view", view, self.images.views), ("role", role, self.images.roles)):
            if wanted is None:
                continue
            mask = column == wanted
            if not mask.any():
                there = ", ".join(sorted(set(column.tolist())))
                raise InputError(f"no image of the index has this {what}", value=wanted, limit=there)
            allowed &= mask
        return allowed

    def _hit(self, row: int, score: float, weights: Float[np.ndarray, " n"]) -> Hit:
        span = slice(self.codes.indptr[row], self.codes.indptr[row + 1])
        neurons = self.codes.indices[span]
        shares = weights[neurons] * self.codes.data[span]
        kept = np.flatnonzero(shares)
        kept = kept[np.lexsort((neurons[kept], -np.abs(shares[kept])))]
        shared = tuple(
            Shared(
                int(neurons[at]), name.name if (name := self.names.get(int(neurons[at]))) else None, float(shares[at])
            )
            for at in kept
        )
        images = self.images
        return Hit(str(images.image_ids[row]), score, str(images.views[row]), str(images.roles[row]), shared)

    def _closest(self, image_id: str) -> list[str]:
        known = self._sorted
        if len(known) > _SMALL:
            at = bisect.bisect(known, image_id)
            known = known[max(0, at - 50) : at + 50]
        return difflib.get_close_matches(image_id, known, n=3, cutoff=0.0)

    @functools.cached_property
    def _sorted(self) -> list[str]:
        return sorted(self._row)
