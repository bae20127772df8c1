"""The talk of the decoders, kept out of logs: what they complain of may quote a patient's name."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()  # the filters of warnings belong to the process, so two threads must not swap them at once
_HERE = threading.local()


def _passes(_record: logging.LogRecord) -> bool:
    return not getattr(_HERE, "quiet", 0)


_TALKERS = ("pydicom", "pylibjpeg", "libjpeg", "openjpeg", "jpeg_ls", "PIL")
_hushed = 0


def _hush() -> None:
    """Give every logger of the decoders the filter: a parent's does not hold for its children."""
    global _hushed
    known = logging.root.manager.loggerDict
    if len(known) == _hushed:
        return
    for name, logger in list(known.items()):
        if name.split(".")[0] in _TALKERS and isinstance(logger, logging.Logger):
            logger.addFilter(_passes)
    _hushed = len(known)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the warnings and log records of pydicom and Pillow inside the block, of this thread alone.

    No setting of pydicom's is touched: those belong to the process, and to whoever else uses pydicom in it. Blocks of
    several threads wait for each other, so only what talks belongs inside.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _hush()
        _HERE.quiet = getattr(_HERE, "quiet", 0) + 1
        try:
            yield
        finally:
            _HERE.quiet -= 1
