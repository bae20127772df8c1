"""Sizes that the header of a JPEG, JPEG-LS or JPEG 2000 stream claims, read before a decoder reserves memory."""

import struct
from typing import NamedTuple

from neuroconcepts_ray.imaging.undecodable import Undecodable

JPEG = b"\xff\xd8"
_J2K = b"\xff\x4f\xff\x51"
_FRAMES = (frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}) | {0xF7}  # F7: JPEG-LS
_PLAIN = frozenset(range(0xD0, 0xD9)) | {0x01}


class Frame(NamedTuple):
    """What a stream says of its image.

    Attributes:
        width: In pixels.
        height: In pixels.
        components: Planes of samples.
        bits: Of a sample.
    """

    width: int
    height: int
    components: int
    bits: int


def jpeg_frame(data: bytes) -> Frame:
    """The frame header of a JPEG or JPEG-LS (ITU T.81 §B.2.2, T.87 §C.2.2).

    Args:
        data: Bytes that begin with the marker SOI.

    Raises:
        Undecodable: There is none.
    """
    if not data.startswith(JPEG):
        raise Undecodable("damaged")
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise Undecodable("damaged" if at > 2 else "not an image")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _PLAIN:
            at += 2
        elif marker in _FRAMES:
            if at + 10 > len(data):
                break
            bits, height, width, components = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return Frame(width, height, components, bits)
        else:
            at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    raise Undecodable("truncated")


def jpeg2000_frame(data: bytes) -> Frame:
    """The marker SIZ of a JPEG 2000 code stream, bare or in the boxes of a JP2 file (ITU T.800 §A.5.1).

    Args:
        data: The stream.

    Raises:
        Undecodable: There is none.
    """
    at = data.find(_J2K, 0, 1 << 16)
    if at < 0 or at + 43 > len(data):
        raise Undecodable("damaged")
    right, bottom, left, top = struct.unpack(">IIII", data[at + 8 : at + 24])
    (components,) = struct.unpack(">H", data[at + 40 : at + 42])
    return Frame(right - left, bottom - top, components, (data[at + 42] & 0x7F) + 1)
