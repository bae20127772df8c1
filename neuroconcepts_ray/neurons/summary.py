"""What the codes of a whole space say of its neurons."""

from typing import Any

import numpy as np

from neuroconcepts_ray.catalog.tables import Catalog
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.neurons.statistics import statistics
from neuroconcepts_ray.neurons.tables import Codes, neurons_table
from neuroconcepts_ray.sae.rows import has_role

SHOWN_ROLES = ("probe",)
"""Roles whose images may stand for a neuron."""

HIDDEN_ROLE = "test"
"""The role that no statistic sees."""


def summarise(codes: Codes, catalog: Catalog, top_images: int) -> tuple[bytes, dict[str, Any]]:
    """The table of the neurons, and the facts that are counted over the same images.

    Args:
        codes: All codes of the space.
        catalog: The catalog of their images.
        top_images: Images remembered for each neuron.

    Returns:
        The bytes of ``neurons.parquet``; ``images_counted`` and ``l0``.
    """
    roles = [role for role in np.unique(catalog.roles).tolist() if role != HIDDEN_ROLE]
    counted = has_role(codes.image_ids, catalog.image_ids, catalog.roles, roles)
    shown = has_role(codes.image_ids, catalog.image_ids, catalog.roles, SHOWN_ROLES)
    stats = statistics(codes.matrix, codes.image_ids, counted, shown, top_images)
    images = int(counted.sum())
    l0 = codes.matrix[np.flatnonzero(counted)].nnz / max(1, images)
    return to_parquet(neurons_table(stats)), {"images_counted": images, "l0": l0}
