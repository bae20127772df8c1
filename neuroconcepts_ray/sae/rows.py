"""Which row of an activations table has which role."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Shaped

from neuroconcepts_ray.errors import InputError


def positions(image_ids: Shaped[np.ndarray, " m"], known: Shaped[np.ndarray, " n"]) -> np.ndarray:
    """The row of ``known`` that holds each of ``image_ids``.

    Raises:
        InputError: An image that ``known`` lacks.
    """
    order = np.argsort(known, kind="stable")
    at = order[np.minimum(np.searchsorted(known, image_ids, sorter=order), len(known) - 1)] if len(known) else order
    if len(known) == 0 or not np.array_equal(known[at], image_ids):
        missing = image_ids[known[at] != image_ids][0] if len(known) else image_ids[0]
        raise InputError("an image is not in the catalog", value=missing, remedy="Run `mine` on this catalog again")
    return np.asarray(at)


def has_role(
    image_ids: Shaped[np.ndarray, " m"],
    known: Shaped[np.ndarray, " n"],
    roles: Shaped[np.ndarray, " n"],
    wanted: Iterable[str],
) -> Bool[np.ndarray, " m"]:
    """Whether each image has one of the wanted roles.

    Args:
        image_ids: The images of a table.
        known: The catalog's images.
        roles: Their roles.
        wanted: Role names.
    """
    mask: Bool[np.ndarray, " m"] = np.isin(roles[positions(image_ids, known)], list(wanted))
    return mask
