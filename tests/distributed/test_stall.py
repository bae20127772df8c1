"""A body that could wait for ever, and who looks at it."""

import signal
import threading
import time

import pytest

from neuroconcepts_ray.distributed.stall import watched
from neuroconcepts_ray.errors import EnvironmentFault


def lost() -> None:
    raise EnvironmentFault("machines are lost")


def test_what_a_look_raises_ends_a_body_that_waits() -> None:
    began = time.monotonic()
    with pytest.raises(EnvironmentFault, match="machines are lost"), watched(lost, 0.05):
        threading.Event().wait(30)
    assert time.monotonic() - began < 10


def test_a_command_in_the_background_which_ignores_sigint_is_ended_too() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(EnvironmentFault, match="machines are lost"), watched(lost, 0.05):
            threading.Event().wait(30)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_body_that_swallows_an_interrupt_gets_another() -> None:
    with pytest.raises(EnvironmentFault, match="machines are lost"), watched(lost, 0.05):
        try:
            threading.Event().wait(30)
        except KeyboardInterrupt:
            threading.Event().wait(30)


def test_somebody_elses_alarm_reaches_them() -> None:
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        with watched(lambda: None, 10):
            signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert rung == [1, 1]


def test_a_body_is_left_alone_while_looks_find_nothing() -> None:
    looked = threading.Event()
    with watched(looked.set, 0.01):
        assert looked.wait(10)
    with pytest.raises(ValueError, match="its own"), watched(looked.set, 0.01):
        raise ValueError("its own")
    with pytest.raises(KeyboardInterrupt), watched(looked.set, 0.01):
        raise KeyboardInterrupt


def test_nothing_is_looked_at_after_the_end() -> None:
    for _ in range(50):
        with watched(lost, 0.02):
            pass
    time.sleep(0.1)


def test_a_look_that_itself_fails_is_tried_again() -> None:
    tries = []

    def look() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("the cluster does not answer")
        lost()

    with pytest.raises(EnvironmentFault, match="machines are lost"), watched(look, 0.01):
        threading.Event().wait(30)
    assert len(tries) == 3


def test_outside_the_main_thread_nothing_is_watched() -> None:
    done = []

    def body() -> None:
        with watched(lost, 0.01):
            time.sleep(0.1)
            done.append(1)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert done == [1]
