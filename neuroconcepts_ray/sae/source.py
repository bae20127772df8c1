"""The training rows of an SAE out of the lake: those with a role for it, in memory or on disk."""

from collections.abc import Iterator, Mapping
from itertools import chain

import numpy as np
import torch
from jaxtyping import Float

from neuroconcepts_ray.catalog.roles import check_disjoint
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.table import tensor_rows
from neuroconcepts_ray.sae.config import FIT_ROLES
from neuroconcepts_ray.sae.data import Resident, Rows
from neuroconcepts_ray.sae.spool import Spooled


def no_rows(roles: tuple[str, ...], where: str) -> InputError:
    """The error of roles without images."""
    return InputError(
        "no image has any of these roles",
        value=", ".join(roles),
        where=where,
        remedy="Set the catalog's role shares so that each role has patients",
    )


def _selected(lake: Lake, activations: Manifest, wanted: Mapping[str, bool]) -> Iterator[Float[np.ndarray, "_ d"]]:
    """Rows of images that are wanted, part by part; an image may have several.

    Args:
        lake: The lake.
        activations: Activations of one tap.
        wanted: Every image of the catalog, and whether it is.

    Raises:
        InputError: An image that the catalog lacks.
    """
    for part in activations.parts:
        table = lake.table(part, ["image_id", "activation"])
        ids = table["image_id"].to_pylist()
        try:
            mask = np.array([wanted[image_id] for image_id in ids], dtype=bool)
        except KeyError as error:
            raise InputError(
                "an image is not in the catalog", value=error.args[0], remedy="Run `mine` on this catalog again"
            ) from None
        if mask.any():
            yield tensor_rows(table["activation"])[mask]


def training_rows(lake: Lake, catalog: Manifest, activations: Manifest, memory: float, device: str) -> Rows:
    """The rows whose image has role fit or probe, in the table's order; an image may have several.

    Each part is read once. Beside what is returned, memory holds one part and the catalog's ids; rows that turn out
    not to fit are held to the budget until they are on disk.

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
    d, budget = int(activations.facts["d"]), int(memory * 1e9)
    chosen = np.isin(images.roles, FIT_ROLES)
    share = float(chosen.mean()) if len(chosen) else 0.0
    parts = _selected(lake, activations, dict(zip(images.image_ids.tolist(), chosen.tolist(), strict=True)))
    every = sum(part.rows for part in activations.parts)
    # Room for all roles, of which the system gives what is written to.
    x, rows = torch.empty((min(every, budget // max(1, 4 * d)), d)), 0
    for part in parts:
        if rows + len(part) > len(x):
            held = (x[:rows].numpy(), part)
            return Spooled(chain(held, parts), round(share * every), d, budget, device)
        x[rows : rows + len(part)] = torch.from_numpy(part)
        rows += len(part)
    if not rows:
        raise no_rows(FIT_ROLES, activations.name)
    return Resident(x[:rows].to(device))
