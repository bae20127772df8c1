"""Versions of the lake's format: what this program reads, and how a lake of an older version becomes one of today's.

An artifact's name holds the version (it is in every recipe), so migrating writes new manifests beside the old ones,
over the same parts; what is no longer needed goes with `gc`. A step changes what a manifest says; names follow.
"""

from collections.abc import Callable, Mapping
from typing import Any

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake import recipe as recipes

Step = Callable[[dict[str, Any]], dict[str, Any]]
"""A manifest of one version, as plain JSON data, to what the next version says; its names are made anew afterwards."""

STEPS: dict[int, Step] = {}
"""The step from each version to the next. There is one version so far, and so there are no steps."""


class OlderFormat(InputError):
    """A record of an older format than is read.

    Args:
        raw: The record as plain data.
        key: Its key.
    """

    def __init__(self, raw: Mapping[str, Any], key: str) -> None:
        super().__init__(
            "the lake was written in an older format",
            value=raw["format"],
            limit=recipes.FORMAT,
            where=key,
            remedy="Run `neuroconcepts migrate` once",
        )
        self.raw = dict(raw)

    def fields(self) -> dict[str, Any]:
        """As the error that it is to everybody else."""
        return super().fields() | {"type": "InputError"}


def check_format(raw: Mapping[str, Any], key: str) -> None:
    """Refuse a record of a format that this program does not read.

    Args:
        raw: The record as plain data; one without ``format`` (a ref, a receipt) says nothing.
        key: Its key, for messages.

    Raises:
        OlderFormat: It can be migrated.
        InputError: It is newer than this program.
    """
    version = raw.get("format", recipes.FORMAT)
    if not isinstance(version, int) or version == recipes.FORMAT:
        return
    if version < recipes.FORMAT:
        raise OlderFormat(raw, key)
    raise InputError(
        "the lake was written in a newer format",
        value=version,
        limit=recipes.FORMAT,
        where=key,
        remedy="Upgrade neuroconcepts-ray",
    )
