"""What every layout offers to the writer of the archive, and the forms of files that several share."""

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.shelf import Shelf

Rows = Iterable[dict[str, object]]


@dataclass(frozen=True)
class Layout:
    """How one archive is written: patients in any order and by any process, then what closes it.

    Args:
        tables: The files that ``closing`` writes, relative to the archive's root; while one is missing the archive is
            not finished.
        patient: (config, number of the patient, shelf) → rows of the truth. Puts all files of that patient on the
            shelf; they depend on nothing but config and number.
        closing: (config) → (file, bytes) of each of ``tables``. What they say is drawn again, no film is opened.
    """

    tables: tuple[str, ...]
    patient: Callable[[PhantomConfig, int, Shelf], Rows]
    closing: Callable[[PhantomConfig], Iterator[tuple[str, bytes]]]


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as CSV in UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def gzipped(data: bytes) -> bytes:
    """Compressed without a name or a time in the header: the same data are the same bytes."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()
