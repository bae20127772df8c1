"""Halving: the images that kill are found, in few attempts, and nothing else is blamed."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from neuroconcepts_ray.distributed.poison import culprits


@given(st.integers(1, 200), st.sets(st.integers(0, 199), max_size=4), st.integers(1, 3))
def test_exactly_the_rows_that_kill_are_found(rows: int, deadly: set[int], tries: int) -> None:
    deadly = {row for row in deadly if row < rows}
    asked = 0

    def dies(some: Sequence[int]) -> bool:
        nonlocal asked
        asked += 1
        return bool(deadly & set(some))

    if deadly:
        assert culprits(range(rows), dies, tries) == sorted(deadly)
        assert asked <= 1 + len(deadly) * (2 * (rows - 1).bit_length() + tries)


def test_where_nothing_is_left_and_it_still_dies_no_row_is_blamed() -> None:
    assert culprits(range(64), lambda _: True, 3) == []


def test_one_death_is_no_proof() -> None:
    deaths = {3: 4}  # of row 3, in the search for it; alone it then lives

    def dies(some: Sequence[int]) -> bool:
        if 3 in some and deaths[3]:
            deaths[3] -= 1
            return True
        return False

    assert culprits(range(8), dies, 3) == []


def test_rows_that_kill_only_together_are_not_blamed() -> None:
    assert culprits(range(8), lambda some: {1, 6} <= set(some), 2) == []
