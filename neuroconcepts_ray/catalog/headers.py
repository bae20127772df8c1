"""The headers of an archive's DICOM files, read without their pixels."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydicom.filereader import read_partial
from pydicom.tag import Tag

from neuroconcepts_ray.catalog.digests import TASK, THREADS
from neuroconcepts_ray.catalog.trees import Entry, Tree
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.imaging.dicom import Identity, is_dicom, looks_bare, open_dicom, read_header, read_identity
from neuroconcepts_ray.imaging.quiet import quiet
from neuroconcepts_ray.imaging.undecodable import Undecodable

FIRST = 1 << 14
"""Bytes that are read first, 16 KiB: more than the header of most films."""

GROWTH = 8
"""How much more is read where they did not suffice."""

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
        data, pixels = read_head(tree, file)
    except EnvironmentFault:
        raise
    except OSError as error:
        raise EnvironmentFault(
            f"a file of the archive cannot be read: {error.strerror or type(error).__name__}",
            where="catalog.root",
            remedy="Mend its permissions or the disk, and run the same command again",
        ) from None
    if not is_dicom(data) and not looks_bare(data):
        return None
    try:
        if pixels is None and _DEFLATED in data[:1024]:
            found = open_dicom(data, PIXELS, pixels=True)
            pixels = any(name in found for name in PIXELS)
        return UNREADABLE if pixels is None else Header(read_header(data), read_identity(data), pixels)
    except Undecodable:
        return UNREADABLE


def read_head(tree: Tree, file: Entry) -> tuple[bytes, bool | None]:
    """A DICOM file up to its pixels, or all of a file that has none.

    Args:
        tree: The archive.
        file: The file.

    Returns:
        Its bytes, and whether pixel data follow; None where the bytes do not tell so by themselves: a deflated file,
        one that is cut short, or not DICOM at all.

    Raises:
        OSError: The disk or store failed.
    """
    size = FIRST
    while True:
        data = tree.head(file.key, size)
        whole = len(data) < size or len(data) >= file.size
        if not is_dicom(data):
            return data, None
        end = None if _DEFLATED in data[:1024] else _end(data)
        if end is not None and end >= _FIRST_PIXELS:
            return data, end in _PIXELS
        if whole:
            return data, False if end is not None else None
        size *= GROWTH


def _end(data: bytes) -> int | None:
    """The first tag at or past the pixel data, 0 where the bytes end before it, None where they are cut or damaged."""
    seen: list[int] = []

    def at_pixels(tag: int, *_: object) -> bool:
        if tag >= _FIRST_PIXELS:
            seen.append(tag)
        return bool(seen)

    stream = io.BytesIO(data)
    with quiet():
        try:
            read_partial(stream, stop_when=at_pixels, specific_tags=[Tag("SOPInstanceUID")])
        except MemoryError:
            raise
        except Exception:  # whoever reads the tags will find out what it is
            return None
    if seen:
        return seen[0]
    return 0 if stream.tell() <= len(data) else None  # a value that is skipped past the end was cut
