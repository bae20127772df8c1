"""Every group has one role, whatever else is in the archive."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconcepts_ray.catalog.config import ROLES, CatalogConfig, Shares
from neuroconcepts_ray.catalog.roles import assign, check_disjoint, role
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, InputError, LeakageError

HASH = CatalogConfig(root="x", split="hash")
PUBLISHED = CatalogConfig(root="x")
GROUPS = st.lists(st.text("0123456789abcdef", min_size=4, max_size=4), min_size=1, max_size=60)


@given(GROUPS, st.integers(0, 5))
def test_roles_are_disjoint_over_groups(groups: list[str], seed: int) -> None:
    roles = assign(groups, [""] * len(groups), CatalogConfig(root="x", split="hash", seed=seed))
    check_disjoint(groups, roles)
    assert set(roles) <= set(ROLES)


@given(GROUPS, GROUPS)
def test_no_role_moves_when_the_archive_grows(before: list[str], more: list[str]) -> None:
    roles = assign(before, [""] * len(before), HASH)
    grown = assign(before + more, [""] * (len(before) + len(more)), HASH)
    assert grown[: len(before)] == roles


@given(st.text("0123456789abcdef", min_size=16, max_size=16), st.sampled_from(["train", "validate", "test"]))
def test_a_published_part_gives_only_its_own_roles(group: str, part: str) -> None:
    own = {"train": {"fit", "probe"}, "validate": {"select", "verify"}, "test": {"test"}}[part]
    assert role(group, part, PUBLISHED) in own


def test_shares_are_met() -> None:
    n = 20_000
    counts = Counter(role(f"{number:016x}", "", HASH) for number in range(n))
    for name in ROLES:
        share = getattr(HASH.shares, name)
        assert abs(counts[name] / n - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_a_share_of_nothing_gives_nobody_that_role() -> None:
    config = CatalogConfig(root="x", split="hash", shares=Shares(fit=0.5, probe=0, select=0.5, verify=0, test=0))
    assert {role(f"{number:x}", "", config) for number in range(500)} == {"fit", "select"}


def test_another_seed_deals_other_roles() -> None:
    other = CatalogConfig(root="x", split="hash", seed=1)
    assert any(role(f"{number:x}", "", HASH) != role(f"{number:x}", "", other) for number in range(50))


def test_the_guard_counts_the_groups_with_two_roles_and_names_none() -> None:
    with pytest.raises(LeakageError, match="2 groups") as caught:
        check_disjoint(["aaaa", "aaaa", "bbbb", "cccc", "cccc"], ["fit", "test", "fit", "fit", "probe"])
    assert "aaaa" not in caught.value.message


def test_a_published_split_that_tears_a_group_is_refused_with_the_remedy() -> None:
    with pytest.raises(LeakageError, match=r"1 of 2 groups.*catalog\.split: hash") as caught:
        assign(["aaaa", "aaaa", "bbbb"], ["train", "test", "train"], PUBLISHED)
    assert "aaaa" not in caught.value.message
    check_disjoint(["aaaa", "aaaa", "bbbb"], assign(["aaaa", "aaaa", "bbbb"], ["train", "test", "train"], HASH))


def test_a_missing_published_split_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"1 of 2 images.*catalog\.split: hash"):
        assign(["aaaa", "bbbb"], ["train", ""], PUBLISHED)


def test_an_unknown_part_of_a_split_is_refused() -> None:
    with pytest.raises(InputError, match="extra"):
        assign(["aaaa"], ["extra"], PUBLISHED)


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="sum to 1"):
        validate(CatalogConfig, {"root": "x", "shares": {"fit": 0.9}})
