"""Which row of an activations table has which role."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Shaped

from neuroconcepts_ray.catalog.tables import positions


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
