"""The headers of an archive's DICOM files, read without their pixels."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import Tag

from neuroconcepts_ray.catalog.digests import TASK, THREADS
from neuroconcepts_ray.catalog.trees import Entry, Tree, unreadable_file
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.imaging.bounds import MAX_BYTES
from neuroconcepts_ray.imaging.dicom import (
    HEADER,
    IDENTITY,
    Identity,
    header_of,
    identity_of,
    is_dicom,
    looks_bare,
    open_dicom,
)
from neuroconcepts_ray.imaging.quiet import quiet
from neuroconcepts_ray.imaging.undecodable import Undecodable

FIRST = 1 << 14
"""Bytes that are read first, 16 KiB: more than the header of most films."""

GROWTH = 8
"""How much more is read where they did not suffice."""

TAGS = (*HEADER, *IDENTITY)
"""All that is ever parsed of a header."""

PIXELS = ("FloatPixelData", "DoubleFloatPixelData", "PixelData")
_PIXELS = frozenset(int(Tag(name)) for name in PIXELS)
_FIRST_PIXELS = min(_PIXELS)
_DEFLATED = b"1.2.840.10008.1.2.1.99"


@dataclass(frozen=True)
class Header:
    """What a catalog takes from a DICOM file.

    Attributes:
        tags: Of :func:`~neuroconcepts_ray.imaging.dicom.read_header`; empty where it could not be read.
        identity: Whom it is of; None where it could not be read.
        pixels: Whether the file has pixel data; true where that could not be found out.
    """

    tags: dict[str, str | int | float | None]
    identity: Identity | None
    pixels: bool

    def text(self, tag: str) -> str:
        """A tag as text, empty where the file does not say."""
        return str(self.tags.get(tag) or "")


UNREADABLE = Header({}, None, pixels=True)


def read_headers(tree: Tree, files: list[Entry]) -> list[Header | None]:
    """The headers of files, several at a time.

    Args:
        tree: The archive.
        files: The files.

    Returns:
        One a file: None for what is not DICOM, :data:`UNREADABLE` for what is and cannot be read.

    Raises:
        EnvironmentFault: A file cannot be read; its name is left out.
    """
    found: list[Header | None] = []
    with track("catalog: headers", len(files), "files") as advance, ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(files), THREADS * TASK):  # a pool keeps an object for all that it was ever given
            some = files[start : start + THREADS * TASK]
            found += pool.map(lambda file: _look(tree, file), some)
            advance(len(some))
    return found


def _look(tree: Tree, file: Entry) -> Header | None:
    try:
        head = read_head(tree, file)
    except EnvironmentFault:
        raise
    except OSError as error:
        raise unreadable_file(error, "catalog.root") from None
    if not is_dicom(head.data):
        return UNREADABLE if looks_bare(head.data) else None
    if head.found is not None:
        return Header(header_of(head.found), identity_of(head.found), head.end in _PIXELS)
    if not _is_deflated(head.data):
        return UNREADABLE
    try:
        found = open_dicom(head.data, (*TAGS, *PIXELS), pixels=True)
    except Undecodable:
        return UNREADABLE
    return Header(header_of(found), identity_of(found), any(name in found for name in PIXELS))


@dataclass(frozen=True)
class Head:
    """A DICOM file up to its pixels, or all of a file that has none.

    Attributes:
        data: Its bytes.
        found: Its tags of :data:`TAGS`; None where the file is deflated, cut short, damaged, or not DICOM.
        end: The first tag at or past the pixel data; 0 where the file ends before it.
    """

    data: bytes
    found: Dataset | None = None
    end: int = 0


def read_head(tree: Tree, file: Entry) -> Head:
    """Read no more of a file than its header takes.

    Args:
        tree: The archive.
        file: The file.

    Raises:
        OSError: The disk or store failed.
    """
    if file.size == 0:  # of which a store gives no range
        return Head(b"")
    size = FIRST
    while True:
        data = tree.head(file.key, size)
        whole = len(data) < size or len(data) >= file.size
        if not is_dicom(data):
            return Head(data)
        head = Head(data) if _is_deflated(data) else _parse(data)
        if whole or head.end >= _FIRST_PIXELS or size >= MAX_BYTES:
            return head
        size = min(size * GROWTH, MAX_BYTES)


def _is_deflated(data: bytes) -> bool:
    return _DEFLATED in data[:1024]


def _parse(data: bytes) -> Head:
    seen: list[int] = []

    def at_pixels(tag: int, *_: object) -> bool:
        if tag >= _FIRST_PIXELS:
            seen.append(tag)
        return bool(seen)

    stream = io.BytesIO(data)
    with quiet():
        try:
            found = read_partial(stream, stop_when=at_pixels, specific_tags=list(map(Tag, TAGS)))
        except MemoryError:
            raise
        except Exception:  # its text may quote a tag; whoever mines the file will find out what it is
            return Head(data)
    cut = not seen and stream.tell() > len(data)  # a value was skipped past the end
    if cut or not found.file_meta.get("TransferSyntaxUID"):
        return Head(data)
    return Head(data, found, seen[0] if seen else 0)
