"""Reads that may fail or hang: bounded in time and in tries."""

import threading
import time

import pytest

from neuroconcepts_ray.distributed.reading import LONGEST_S, Patience, bounded
from neuroconcepts_ray.errors import EnvironmentFault, InputError


class Store:
    """Fails so many times."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.asked = error, times, 0

    def read(self) -> bytes:
        self.asked += 1
        if self.asked <= self.times:
            raise self.error
        return b"film"


def test_a_read_that_fails_is_tried_again_with_pauses_that_grow_to_a_bound() -> None:
    store, pauses = Store(ConnectionResetError(104, "reset"), 7), []
    assert Patience(retries=7).read(store.read, sleep=pauses.append) == b"film"
    assert pauses == [0.5, 1.0, 2.0, 4.0, LONGEST_S, LONGEST_S, LONGEST_S]


def test_the_last_error_comes_through_after_the_retries() -> None:
    store = Store(OSError(5, "Input/output error"), 99)
    with pytest.raises(OSError, match="Input/output"):
        Patience(retries=2).read(store.read, sleep=lambda _: None)
    assert store.asked == 3


@pytest.mark.parametrize("error", [InputError("an image is missing"), EnvironmentFault("the folder is gone")])
def test_what_another_try_would_meet_again_is_not_tried(error: Exception) -> None:
    store = Store(error, 99)
    with pytest.raises(type(error)):
        Patience(retries=5).read(store.read, sleep=lambda _: None)
    assert store.asked == 1


def test_a_read_that_hangs_is_given_up_and_the_next_is_not_held_up_by_it() -> None:
    hung = threading.Event()
    with pytest.raises(TimeoutError, match=r"did not end in 0.05 s"):
        bounded(hung.wait, 0.05)
    assert bounded(lambda: 7, 5.0) == 7
    hung.set()


def test_a_slow_read_that_ends_in_time_counts() -> None:
    assert bounded(lambda: time.sleep(0.05) or 7, 30.0) == 7


def test_reads_of_one_thread_share_one_hand() -> None:
    names = {bounded(lambda: threading.current_thread().name, 5.0) for _ in range(20)}
    assert len(names) == 1
    assert threading.current_thread().name not in names
