"""``neuroconcepts``: one verb a stage, made from the table; errors in one line, each with its exit code."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import typer

# The help page has them in this order.
from neuroconcepts_ray.cli import chain, questions, tending
from neuroconcepts_ray.cli.app import app
from neuroconcepts_ray.distributed.compat import prepare_environment
from neuroconcepts_ray.errors import NeuroconceptsError, fault

VERBS = (chain, questions, tending)
"""Modules whose verbs the application has; loading one is what gives it them."""


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code


INTERRUPTED = 130
"""Exit code of Ctrl-C; Typer makes it of any KeyboardInterrupt, and returns it."""


def _interrupted(asked: threading.Event) -> int:
    if asked.is_set():
        return _fail("this process was asked to end. Run the same command again: it continues from here", 4)
    return _fail("interrupted. Run the same command again: it continues from here", INTERRUPTED)


@contextlib.contextmanager
def _stoppable(args: list[str], asked: threading.Event) -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does; a server has its own way, and other threads get no signals."""
    if args[:1] == ["serve"] or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: object) -> None:  # noqa: ARG001 - a signal handler's
        asked.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def call(args: list[str]) -> int:
    """Run one command line and return its exit code: 0 done, 2 usage, 3 input, 4 environment, 1 ours."""
    asked = threading.Event()
    try:
        with _stoppable(args, asked):
            result: Any = app(args, standalone_mode=False)
    except NeuroconceptsError as error:
        return _fail(error.message, error.exit_code)
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(asked)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if hasattr(error, "format_message"):  # click's usage errors
            return _fail(f"{error.format_message().rstrip('.')}. Try --help", 2)
        if os.environ.get("NEUROCONCEPTS_DEBUG"):
            raise
        if isinstance(error, OSError):
            return _fail(f"the machine failed: {error.strerror or type(error).__name__}", 4)
        return _fail(fault(error).message, 1)
    if result == INTERRUPTED:
        return _interrupted(asked)
    return result if isinstance(result, int) else 0


def job(verb: str) -> None:
    """Entry of ``jobs/<verb>.py``: the verb with this process's arguments."""
    prepare_environment()
    sys.exit(call([verb, *sys.argv[1:]]))


def main() -> None:
    """Entry of ``neuroconcepts``."""
    prepare_environment()  # before torch is loaded, for OpenMP reads it then
    sys.exit(call(sys.argv[1:]))
