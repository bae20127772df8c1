"""Processes of this machine as /proc has them: who belongs to a command or cluster of the tests, and how to end one."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ACTOR, LOADER = r"ray::.*[(_]Actor\b", r"ray::.*Loader"
"""How Ray calls the processes of mining: actors that hold a model, and tasks that load shards."""


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        pid: Its number.
        parent: Its parent's.
        session: Number of the process that began its session: the command or cluster that it belongs to.
        title: Its command line, or what it calls itself.
    """

    pid: int
    parent: int
    session: int
    title: str

    def is_called(self, pattern: str) -> bool:
        """Whether its title begins like that."""
        return re.match(pattern, self.title) is not None

    def kill(self) -> bool:
        """SIGKILL; whether it was there to be killed."""
        return self._send(signal.SIGKILL)

    def stop(self) -> bool:
        """SIGSTOP, until it is resumed."""
        return self._send(signal.SIGSTOP)

    def resume(self) -> bool:
        """SIGCONT."""
        return self._send(signal.SIGCONT)

    def _send(self, sent: signal.Signals) -> bool:
        with suppress(ProcessLookupError):
            os.kill(self.pid, sent)
            return True
        return False


def every() -> Iterator[Process]:
    """All that run now; those that have ended and wait for their parent are left out."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            state, parent, _, session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            if state not in "ZX":
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield Process(int(folder.name), int(parent), int(session), title.strip())


def of(session: int, title: str = "") -> list[Process]:
    """Those of a session whose title matches a pattern, the oldest first."""
    return sorted((one for one in every() if one.session == session and one.is_called(title)), key=lambda one: one.pid)


def below(root: int) -> list[Process]:
    """A process's children, their children, and so on."""
    known = list(every())
    found, todo = [], [root]
    while todo:
        parent = todo.pop()
        children = [one for one in known if one.parent == parent]
        found += children
        todo += [one.pid for one in children]
    return found
