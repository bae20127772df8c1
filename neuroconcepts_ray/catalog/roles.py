"""Which role a group has, and the guard that no group has two."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from neuroconcepts_ray.catalog.config import ROLES, CatalogConfig, Role
from neuroconcepts_ray.errors import InputError, LeakageError

PUBLISHED = ("train", "validate", "test")
"""Parts of a published split, in MIMIC's words."""

NEARNESS = ("fit", "train", "probe", "select", "validate", "verify", "test")
"""Parts and roles, those nearest to training first."""

_HASH = "Set `catalog.split: hash` to give every group its role by its hash"


def role(group: str, published: str, config: CatalogConfig) -> Role:
    """The role of a group: a pure function of these three, so nothing moves when the archive grows.

    Args:
        group: Keyed hash of the patient.
        published: Part of the published split (:data:`PUBLISHED`), or the role itself; ignored by ``split: hash``.
        config: Split, shares and seed.

    Raises:
        InputError: The published part is neither.
    """
    u = _uniform(group, config.seed)
    if config.split == "hash":
        edge = 0.0
        given = [name for name in ROLES if getattr(config.shares, name) > 0]
        for name in given:
            edge += getattr(config.shares, name)
            if u < edge:
                return name
        return given[-1]  # the shares' sum fell short of 1 by rounding
    if published == "train":
        return "probe" if u < config.probe_share else "fit"
    if published == "validate":
        return "select" if u < 0.5 else "verify"
    for name in ROLES:
        if published == name:
            return name
    raise InputError("unknown part of the published split", value=published, limit=", ".join(PUBLISHED), remedy=_HASH)


def assign(groups: Sequence[str], published: Sequence[str], config: CatalogConfig) -> list[Role]:
    """The role of every image.

    Args:
        groups: Keyed hash of each image's patient.
        published: Each image's part of the published split, empty where the archive has none.
        config: Split, shares and seed.

    Raises:
        InputError: Images without a part although the published split is asked for.
        LeakageError: The published split puts one group into two parts.
    """
    if config.split != "hash":
        without = sum(not part for part in published)
        if without:
            raise InputError(
                "images without a part of the published split",
                value=f"{without} of {len(published)} images",
                where="catalog.split",
                remedy=_HASH,
            )
        torn = _torn(zip(groups, published, strict=True))
        if torn:
            raise LeakageError(
                f"the {'published split' if config.split == 'published' else 'split file'} puts the same group into "
                "several parts",
                value=f"{torn} of {len(set(groups))} groups",
                limit=0,
                where="catalog.split",
                remedy=f"{_HASH}, or `catalog.split_leaks: mark` to move each such group whole to its part nearest to "
                "training",
            )
    known = {pair: role(*pair, config) for pair in set(zip(groups, published, strict=True))}
    roles = [known[pair] for pair in zip(groups, published, strict=True)]
    check_disjoint(groups, roles)
    return roles


@dataclass(frozen=True)
class Torn:
    """What a split that leaks lost by being mended.

    Attributes:
        groups: Groups that stood in several parts.
        moved: Images that left a part, by that part.
    """

    groups: int
    moved: dict[str, int]


def mend(groups: Sequence[str], published: Sequence[str]) -> tuple[list[str], Torn]:
    """Move each group that a split tears, as a whole, to the one of its parts that is nearest to training.

    A model trained by that split has seen the group, so nothing of it may be held out; whoever was held out wholly
    stays so.

    Args:
        groups: Each image's group.
        published: Each image's part or role.

    Returns:
        The parts, one a group, and what was moved.
    """
    nearest: dict[str, str] = {}
    for group, part in zip(groups, published, strict=True):
        nearest[group] = min(nearest.get(group, part), part, key=_nearness)
    mended = [nearest[group] for group in groups]
    left = Counter(before for before, after in zip(published, mended, strict=True) if before != after)
    return mended, Torn(_torn(zip(groups, published, strict=True)), dict(sorted(left.items())))


def _nearness(part: str) -> int:
    return NEARNESS.index(part) if part in NEARNESS else len(NEARNESS)


def check_disjoint(groups: Iterable[str], roles: Iterable[str]) -> None:
    """The leakage guard: every group has one role.

    Args:
        groups: Keyed hash of each image's patient.
        roles: Role of each image.

    Raises:
        LeakageError: How many groups have more than one role.
    """
    torn = _torn(zip(groups, roles, strict=True))
    if torn:
        raise LeakageError(
            "groups have more than one role, so held-out figures would not be held out",
            value=f"{torn} groups",
            limit=0,
            remedy="Make the catalog again",
        )


def _torn(pairs: Iterable[tuple[str, str]]) -> int:
    """How many groups stand with more than one partner."""
    partners: dict[str, set[str]] = {}
    for group, part in pairs:
        partners.setdefault(group, set()).add(part)
    return sum(len(parts) > 1 for parts in partners.values())


def _uniform(group: str, seed: int) -> float:
    """A number in [0, 1) that only group and seed decide; the group is a keyed hash already."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:6], "big") / 2**48
