"""The first directory of a TIFF: its size before Pillow opens it, and the orientation that EXIF tells of a photo."""

import struct
from collections.abc import Collection

ORIENTATION = 0x0112

_BIG = 43
_WIDTHS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def is_tiff(data: bytes) -> bool:
    """Whether bytes begin as a TIFF of either byte order, or a BigTIFF of the lower; Pillow reads no other."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0")


def first_directory(data: bytes, wanted: Collection[int]) -> dict[int, tuple[int, ...]]:
    """The unsigned integers of some tags in the first directory (TIFF 6.0 §2; BigTIFF).

    Args:
        data: A TIFF file, or the TIFF structure inside EXIF.
        wanted: The tags.

    Returns:
        Values by tag, at most 16 of each; a tag that is absent or of another type is left out.

    Raises:
        struct.error: The directory lies beyond the end.
        ValueError: Not a TIFF.
    """
    if not is_tiff(data):
        raise ValueError("not a TIFF")
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack(order + "H", data[2:4])[0] == _BIG
    offset, number, size, inline = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + number, data, at)
    at += struct.calcsize(order + number)
    found: dict[int, tuple[int, ...]] = {}
    for entry in range(min(entries, 4096)):
        place = at + entry * size
        tag, kind = struct.unpack_from(order + "HH", data, place)
        (count,) = struct.unpack_from(order + offset, data, place + 4)
        if tag not in wanted or kind not in _WIDTHS or not count:
            continue
        code = f"{order}{min(count, 16)}{_WIDTHS[kind]}"
        value = place + size - inline
        if count * struct.calcsize(order + _WIDTHS[kind]) > inline:
            (value,) = struct.unpack_from(order + offset, data, value)
        found[tag] = struct.unpack_from(code, data, value)
    return found


def orientation(exif: bytes | None) -> int:
    """The orientation that EXIF tells, 1 to 8; 1 (as it is) where there is none, or none that can be read."""
    if not exif:
        return 1
    try:
        told = first_directory(exif.removeprefix(b"Exif\0\0"), {ORIENTATION}).get(ORIENTATION, (1,))[0]
    except (struct.error, ValueError, OverflowError):
        return 1
    return told if 1 <= told <= 8 else 1
