"""Twins filed under several patients: those patients get one role, or the films are refused."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neuroconcepts_ray.catalog.config import ROLES, Role
from neuroconcepts_ray.catalog.twins import clusters
from neuroconcepts_ray.errors import LeakageError

MOST_GROUPS = 16
"""Patients beyond whom what looks alike is no film of anyone (a blank page, a notice): it joins nobody."""


@dataclass(frozen=True)
class Known:
    """What the catalog that this one grows from says.

    Attributes:
        images: Its image ids.
        roles: The role of each of its groups.
        moved: Whether a film in common gave any of them a role that it would not have alone.
    """

    images: frozenset[str] = frozenset()
    roles: Mapping[str, Role] = field(default_factory=dict)
    moved: bool = False


@dataclass(frozen=True)
class Settled:
    """Roles after joining.

    Attributes:
        roles: Role of each image.
        left_out: Images (rows) that would join groups whose different roles may no longer change.
        pairs: The twins that count: those of crowds do not.
        counts: For the catalog's facts.
    """

    roles: list[Role]
    left_out: list[int]
    pairs: list[tuple[int, int]]
    counts: dict[str, Any]


def settle(
    image_ids: Sequence[str],
    groups: Sequence[str],
    roles: Sequence[Role],
    pairs: Sequence[tuple[int, int]],
    known: Known,
    *,
    refuse: bool = False,
) -> Settled:
    """Give groups that share a film one role.

    Joined groups get, of the roles that they would have alone, the one nearest to fit, so that what is held out stays
    unseen. Groups that were catalogued before keep their role and give it to new ones; a new image that would join
    groups of different known roles is left out.

    Args:
        image_ids: One per image.
        groups: Keyed hash of each image's patient.
        roles: Role of each image's group alone.
        pairs: Twins, as rows.
        known: The catalog that this one grows from.
        refuse: Raise where groups of different roles share a film.

    Raises:
        LeakageError: ``refuse`` is set and groups of different roles share a film.
    """
    alone = dict(zip(groups, roles, strict=True))
    pairs, crowds = _without_crowds(groups, pairs)
    across = sorted(pair for pair in pairs if groups[pair[0]] != groups[pair[1]])
    counts: dict[str, Any] = {
        "pairs": len(pairs),
        "pairs_across_groups": len(across),
        "pairs_across_roles": sum(alone[groups[a]] != alone[groups[b]] for a, b in across),
        "crowd_images": crowds,
    }
    if refuse and counts["pairs_across_roles"]:
        raise LeakageError(
            "near-duplicate films are filed under patients of different roles",
            value=f"{counts['pairs_across_roles']} pairs of films",
            limit=0,
            where="catalog.near_duplicates",
            remedy="Set `catalog.near_duplicates: join` to give such patients one role",
        )
    sets = _Sets(known.roles)
    left_out, torn = _join(image_ids, groups, across, known, sets)
    members = sets.members()
    joined: dict[str, Role] = {}
    for group, others in members.items():
        nearest = min((alone[other] for other in others), key=ROLES.index)
        joined[group] = sets.role(group) or nearest
    now = {group: joined.get(group) or _alone(group, role, known) for group, role in alone.items()}
    gone = set(left_out)
    moved = [row for row in range(len(groups)) if row not in gone and now[groups[row]] != alone[groups[row]]]
    counts |= {
        "joined_groups": len(joined),
        "sets_of_groups": len({frozenset(others) for others in members.values()}),
        "moved_groups": len({groups[row] for row in moved}),
        "moved_images": len(moved),
        "left_out": len(left_out),
        "torn_before": torn,
    }
    return Settled([now[group] for group in groups], left_out, pairs, counts)


def _alone(group: str, role: Role, known: Known) -> Role:
    """The role of a group that shares no film.

    It keeps one nearer to fit that it once got by a film in common, although the patient it shared that with has been
    erased since, or so many have the film by now that it joins nobody: the classifier may have seen it.
    """
    before = known.roles.get(group, role)
    return before if known.moved and ROLES.index(before) < ROLES.index(role) else role


def _without_crowds(groups: Sequence[str], pairs: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], int]:
    """The pairs less those of films that look alike under too many patients, and how many films these are."""
    films = sorted({row for pair in pairs for row in pair})
    place = {row: at for at, row in enumerate(films)}
    cluster = clusters(len(films), [(place[a], place[b]) for a, b in pairs]).tolist()
    patients: dict[int, set[str]] = defaultdict(set)
    for row, number in zip(films, cluster, strict=True):
        patients[number].add(groups[row])
    crowd = {row for row, number in zip(films, cluster, strict=True) if len(patients[number]) > MOST_GROUPS}
    return [pair for pair in pairs if pair[0] not in crowd], len(crowd)


def _join(
    image_ids: Sequence[str], groups: Sequence[str], across: Sequence[tuple[int, int]], known: Known, sets: "_Sets"
) -> tuple[list[int], int]:
    """Join groups pair by pair, catalogued films first; rows that are left out, and pairs that nothing can join."""
    partners: dict[int, set[int]] = defaultdict(set)
    for a, b in across:
        partners[a].add(b)
        partners[b].add(a)
    old = {row for row in partners if image_ids[row] in known.images}
    torn = 0
    for a, b in across:
        if a in old and b in old:
            torn += not sets.join([groups[a], groups[b]])
    left_out = []
    kept = set(old)
    for row in sorted(partners.keys() - old, key=lambda row: image_ids[row]):
        if sets.join([groups[row], *(groups[other] for other in sorted(partners[row] & kept))]):
            kept.add(row)
        else:
            left_out.append(row)
    return left_out, torn


class _Sets:
    """Disjoint sets of groups, each with the one known role that it has, if any."""

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self._above: dict[str, str] = {}
        self._roles: dict[str, Role] = dict(roles)

    def _root(self, group: str) -> str:
        while (above := self._above.setdefault(group, group)) != group:
            self._above[group] = group = self._above[above]
        return group

    def role(self, group: str) -> Role | None:
        return self._roles.get(self._root(group))

    def join(self, groups: Sequence[str]) -> bool:
        """Make one set of these groups' sets, unless these have different known roles."""
        roots = sorted({self._root(group) for group in groups})
        roles = {self._roles[root] for root in roots if root in self._roles}
        if len(roles) > 1:
            return False
        for root in roots[1:]:
            self._above[root] = roots[0]
        if roles:
            self._roles[roots[0]] = roles.pop()
        return True

    def members(self) -> dict[str, list[str]]:
        """For every group that was joined with another, all groups of its set."""
        sets: dict[str, list[str]] = defaultdict(list)
        for group in sorted(self._above):
            sets[self._root(group)].append(group)
        return {group: found for found in sets.values() if len(found) > 1 for group in found}
