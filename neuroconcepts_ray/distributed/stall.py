"""A pass that waits for machines that do not come: Ray waits without end, so somebody else looks at the clock."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from neuroconcepts_ray.errors import EnvironmentFault

EVERY_S = 5.0
"""How often it is looked."""


@contextmanager
def watched(look: Callable[[], None], every_s: float = EVERY_S) -> Iterator[None]:
    """Look every few seconds whether the body can still come to an end; what ``look`` raises ends the body.

    The body may be waiting within Ray, which only a signal interrupts, and ends in order as by Ctrl-C. It is SIGALRM,
    since SIGINT is ignored where a shell started the command in the background. Signals reach the main thread alone, so
    elsewhere nothing is watched.

    Args:
        look: Called in a thread of its own.
        every_s: Seconds between two looks.

    Raises:
        EnvironmentFault: What ``look`` raised.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main or main.ident is None:
        yield
        return
    over, lock = threading.Event(), threading.Lock()
    found: list[EnvironmentFault] = []

    def watch() -> None:
        while not over.wait(every_s):
            try:
                if not found:
                    look()
                    continue
            except EnvironmentFault as fault:
                found.append(fault)
            except Exception:  # noqa: S112 - a cluster that does not answer now may do so at the next look
                continue
            with lock:
                if not over.is_set():  # each time anew, for whoever was interrupted may have gone on
                    signal.pthread_kill(main.ident or 0, signal.SIGALRM)

    before = signal.getsignal(signal.SIGALRM)

    def stop(number: int, frame: FrameType | None) -> None:
        if found:
            if not over.is_set():
                raise KeyboardInterrupt
            return
        if callable(before):  # somebody else's alarm
            before(number, frame)

    signal.signal(signal.SIGALRM, stop)
    threading.Thread(target=watch, name="stall", daemon=True).start()
    try:
        try:
            yield
        finally:
            with lock:
                over.set()
    except KeyboardInterrupt:
        if found:
            raise found[0] from None
        raise
    finally:
        signal.signal(signal.SIGALRM, before)
