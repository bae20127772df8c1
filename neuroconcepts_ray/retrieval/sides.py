"""Who asks and who is searched when retrieval is measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped

from neuroconcepts_ray.errors import ConfigError, InputError

SEEN = ("fit", "select")
"""Roles that the classifier was fitted or stopped on: a figure on them is not held out."""


@dataclass(frozen=True)
class Sides:
    """The images that ask and those that are searched, each as rows of the catalog.

    Attributes:
        queries: Rows that ask.
        gallery: Rows that are searched, in order of image_id.
        unanswerable: How many of those that ask have nothing to find: no positive label beside "No Finding".
    """

    queries: Int[np.ndarray, " q"]
    gallery: Int[np.ndarray, " g"]
    unanswerable: int


def check_roles(query_roles: Sequence[str], gallery_roles: Sequence[str]) -> None:
    """Refuse roles that the classifier has seen.

    Raises:
        ConfigError: There is one.
    """
    for role in (*query_roles, *gallery_roles):
        if role in SEEN:
            raise ConfigError(
                "the classifier was fitted or stopped on images of this role: a figure on them is not held out",
                value=role,
                limit="probe, verify, test",
            )


def choose(
    image_ids: Shaped[np.ndarray, " m"],
    roles: Shaped[np.ndarray, " m"],
    can_ask: Bool[np.ndarray, " m"],
    query_roles: Sequence[str],
    gallery_roles: Sequence[str],
    most: int,
    seed: int,
) -> Sides:
    """Who asks and who is searched.

    Args:
        image_ids: The images.
        roles: Their roles; empty for one that the index does not have.
        can_ask: Of :func:`answerable`.
        query_roles: Roles of the images that ask.
        gallery_roles: Roles of the images that are searched.
        most: Most images that ask, drawn at random.
        seed: Seed of that draw.

    Raises:
        InputError: Nobody asks, or nobody is searched.
    """
    asking = np.flatnonzero(np.isin(roles, list(query_roles)))
    gallery = np.flatnonzero(np.isin(roles, list(gallery_roles)))
    for rows, wanted, what in ((asking, query_roles, "to ask with"), (gallery, gallery_roles, "to search")):
        if not len(rows):
            raise InputError(f"there is no image {what}", value=", ".join(wanted), remedy="Choose other roles")
    if len(asking) > most:
        asking = np.sort(np.random.default_rng(seed).choice(asking, most, replace=False))
    return Sides(asking, gallery[np.argsort(image_ids[gallery], kind="stable")], int((~can_ask[asking]).sum()))
