"""Reads that may fail or hang: bounded in time, tried again a bounded number of times."""

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from neuroconcepts_ray.errors import EnvironmentFault

T = TypeVar("T")

FIRST_S, LONGEST_S = 0.5, 8.0
"""Seconds of waiting before a read is tried again: the first time, and never more than."""


class _Hand:
    """A thread that does one thing after the other; one that hangs is left behind, for no call can end it."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], Any]] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            work = self._asked.get()
            try:
                self._answers.put((work(), None))
            except BaseException as error:
                self._answers.put((None, error))
            del work

    def do(self, work: Callable[[], Any], seconds: float) -> Any:
        self._asked.put(work)
        value, error = self._answers.get(timeout=seconds)
        if error is not None:
            raise error
        return value


_hands = threading.local()


def bounded(work: Callable[[], T], seconds: float) -> T:
    """What ``work`` returns or raises, if it ends in time.

    Args:
        work: A read; it goes on in a thread of its own where it does not end.
        seconds: How long it is waited for.

    Raises:
        TimeoutError: It did not end.
    """
    hand: _Hand | None = getattr(_hands, "hand", None)
    if hand is None:
        hand = _hands.hand = _Hand()
    try:
        value: T = hand.do(work, seconds)
    except Empty:
        _hands.hand = None
        raise TimeoutError(errno.ETIMEDOUT, f"a read did not end in {seconds:g} s") from None
    return value


@dataclass(frozen=True)
class Patience:
    """How long and how often a read is tried.

    Attributes:
        timeout_s: Seconds of one try.
        retries: Further tries.
    """

    timeout_s: float = 120.0
    retries: int = 2

    def read(self, work: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
        """Read; again, after a pause that doubles, where the disk or store failed.

        What names its own remedy is not tried again: the store's client has tried, or it would fail the same way.

        Args:
            work: The read.
            sleep: For tests.

        Raises:
            TimeoutError: The last try hung.
            OSError: The last try failed.
        """
        for attempt in range(self.retries):
            try:
                return bounded(work, self.timeout_s)
            except EnvironmentFault:
                raise
            except OSError:
                sleep(min(FIRST_S * 2**attempt, LONGEST_S))
        return bounded(work, self.timeout_s)
