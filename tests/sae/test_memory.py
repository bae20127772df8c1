"""Rows five times the budget are never in memory whole: the peak of a process, against one that holds them."""

import subprocess
import sys

from tests.sae.memory import CONFIG, PART, D

BUDGET = 60_000_000
ROWS = 5 * BUDGET // (4 * D)


def growth(kind: str) -> int:
    command = [sys.executable, "-m", "tests.sae.memory", kind, str(ROWS), str(BUDGET)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout)


def test_a_training_holds_its_budget_of_rows_and_no_more() -> None:
    # Beside the budget: the order of an epoch while it is shuffled, the batch that is given out and its scaled copy,
    # and two parts of those written, which the heap may keep.
    allowed = BUDGET + 8 * ROWS + 2 * CONFIG.batch_size * D * 4 + 2 * PART * D * 4
    assert growth("spooled") <= allowed
    assert growth("resident") > allowed
