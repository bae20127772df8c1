"""The training rows of an SAE out of the lake: those with a role for it, in memory or on disk."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float

from neuroconcepts_ray.catalog.roles import check_disjoint
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.table import tensor_rows
from neuroconcepts_ray.sae.config import FIT_ROLES
from neuroconcepts_ray.sae.data import Resident, Rows
from neuroconcepts_ray.sae.rows import has_role
from neuroconcepts_ray.sae.spool import Spooled


def no_rows(roles: tuple[str, ...], where: str) -> InputError:
    """The error of roles without images."""
    return InputError(
        "no image has any of these roles",
        value=", ".join(roles),
        where=where,
        remedy="Set the catalog's role shares so that each role has patients",
    )


def training_rows(lake: Lake, catalog: Manifest, activations: Manifest, memory: float, device: str) -> Rows:
    """The rows whose image has role fit or probe, in the table's order; an image may have several.

    Args:
        lake: The lake.
        catalog: The catalog.
        activations: Activations of one tap.
        memory: GB of rows to hold in memory; more streams from a scratch file.
        device: Where to train.

    Raises:
        LeakageError: A group has more than one role.
        InputError: No image has such a role.
        EnvironmentFault: The disk lacks room.
    """
    images = load_catalog(lake, catalog)
    check_disjoint(images.groups, images.roles)
    d = int(activations.facts["d"])
    masks: list[Bool[np.ndarray, " _"]] = []
    for part in activations.parts:
        ids = np.array(lake.table(part, ["image_id"])["image_id"].to_pylist(), dtype=np.str_)
        known = has_role(ids, images.image_ids, images.roles, FIT_ROLES) if len(ids) else np.zeros(0, bool)
        masks.append(known)
    rows = sum(int(mask.sum()) for mask in masks)
    if not rows:
        raise no_rows(FIT_ROLES, activations.name)

    def selected() -> Iterator[Float[np.ndarray, "_ d"]]:
        for part, mask in zip(activations.parts, masks, strict=True):
            if mask.any():
                yield tensor_rows(lake.table(part, ["activation"])["activation"])[mask]

    budget = int(memory * 1e9)
    if rows * d * 4 > budget:
        return Spooled(selected(), rows, d, budget, device)
    x, start = torch.empty((rows, d), device=device), 0
    for piece in selected():
        x[start : start + len(piece)] = torch.from_numpy(piece)
        start += len(piece)
    return Resident(x)
