"""Progress of long work: a bar with rate and ETA on a terminal, one JSON line every few seconds elsewhere."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[int], None]

INTERVAL_S = 5.0
"""Seconds between two lines where there is no terminal."""


def event(name: str, **fields: object) -> None:
    """One JSON line on standard error; nothing on a terminal, where bars tell the same."""
    if not sys.stderr.isatty():
        sys.stderr.write(json.dumps({"event": name, **fields}) + "\n")
        sys.stderr.flush()


@contextlib.contextmanager
def track(label: str, total: int, unit: str) -> Iterator[Advance]:
    """Track work of known size; the yielded function takes how many units were done since its last call."""
    with _bar(label, total, unit) if sys.stderr.isatty() else _lines(label, total, unit) as advance:
        yield advance


@contextlib.contextmanager
def _lines(label: str, total: int, unit: str) -> Iterator[Advance]:
    start = last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        now = time.monotonic()
        if count and (now - last >= INTERVAL_S or done == total):
            last = now
            rate = done / max(now - start, 1e-9)
            eta = round((total - done) / rate) if rate else None
            event("progress", stage=label, done=done, total=total, unit=unit, per_second=round(rate, 1), eta_s=eta)

    yield advance


@contextlib.contextmanager
def _bar(label: str, total: int, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}  {task.fields[rate]:.1f}/s  ETA"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=total, unit=unit, rate=0.0)
        start = time.monotonic()

        def advance(count: int) -> None:
            bars.advance(task, count)
            done = bars.tasks[0].completed
            bars.update(task, rate=done / max(time.monotonic() - start, 1e-9))

        yield advance
