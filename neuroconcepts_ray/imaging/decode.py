"""The bytes of a JPEG or PNG, of whatever mode and depth, as uint8 grey or RGB."""

import io
import struct

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from neuroconcepts_ray.imaging.undecodable import Undecodable

MAX_PIXELS = 1 << 26
"""Largest image that is decoded, 8192×8192: more than any film or mammogram, and below Pillow's own alarm."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PLAIN = frozenset(range(0xD0, 0xD9)) | {0x01}


def _claimed_size(data: bytes) -> tuple[int, int]:
    """Width and height as the header claims them, read before any decoder reserves memory for them."""
    if data.startswith(_PNG):
        if len(data) < 24:
            raise Undecodable("truncated")
        if data[12:16] != b"IHDR":
            raise Undecodable("damaged")
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    if not data.startswith(_JPEG):
        raise Undecodable("not a JPEG or PNG")
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise Undecodable("damaged" if at > 2 else "not a JPEG or PNG")
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _PLAIN:
            at += 2
        elif marker in _FRAMES:
            if at + 9 > len(data):
                break
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        else:
            at += 2 + int(struct.unpack(">H", data[at + 2 : at + 4])[0])
    raise Undecodable("truncated")


def decode(data: bytes) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Decode one JPEG or PNG.

    Grey comes back as [h, w]; so does colour whose three channels are equal everywhere. Alpha, a transparent
    palette entry and a transparent colour are composited on black. CMYK and YCCK become RGB. Grey of 16 bits is
    scaled by the full range that its container declares, 0…65535 → 0…255 (rounded), never by the values that
    occur; of 16-bit colour Pillow keeps the high byte. Orientation tags are not applied.

    Args:
        data: The file's bytes.

    Returns:
        uint8 [h, w] or [h, w, 3].

    Raises:
        Undecodable: The bytes will never decode; ``cause`` says why.
    """
    if not data:
        raise Undecodable("empty file")
    width, height = _claimed_size(data)
    if width == 0 or height == 0:
        raise Undecodable("no pixels", value=f"{width}×{height}")
    if width * height > MAX_PIXELS:
        raise Undecodable("too many pixels", value=f"{width}×{height}", limit=f"{MAX_PIXELS} pixels")
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            image.load()
            return to_uint8(image)
    except MemoryError:
        raise
    except Exception as error:  # hostile bytes make Pillow raise OSError, SyntaxError, ValueError, struct.error …
        cause = "truncated" if "truncated" in str(error).lower() else "damaged"
        raise Undecodable(cause) from error


def to_uint8(image: Image.Image) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """The pixels of a Pillow image of any mode, by the rules of :func:`decode`.

    Args:
        image: A loaded image.

    Returns:
        uint8 [h, w] or [h, w, 3].

    Raises:
        Undecodable: A mode without a declared range (floating point).
    """
    mode = image.mode
    if mode == "F":
        raise Undecodable("damaged", value="floating-point pixels without a declared range")
    if mode == "I" or mode.startswith("I;16"):
        return _from_16_bits(image)
    if mode in ("RGBa", "La"):
        # Premultiplied: the stored colour is the one composited on black already.
        return _grey_if_equal(np.stack([np.asarray(image.getchannel(i)) for i in range(len(mode) - 1)], axis=-1))
    if mode in ("RGBA", "LA", "PA") or _has_transparent_colour(image):
        rgba = np.asarray(image.convert("RGBA"), dtype=np.uint16)
        return _grey_if_equal(((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8))
    if mode == "L":
        return np.array(image, dtype=np.uint8)
    if mode == "1":
        return np.array(image.convert("L"), dtype=np.uint8)
    return _grey_if_equal(np.array(image.convert("RGB"), dtype=np.uint8))


def _has_transparent_colour(image: Image.Image) -> bool:
    colour = image.info.get("transparency")
    if isinstance(colour, tuple):  # of 16-bit colour: the low bytes are gone, so it cannot be told from its neighbours
        return all(level <= 255 for level in colour)
    return colour is not None


def _from_16_bits(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    wide = np.asarray(image).astype(np.int64).clip(0, 65535)
    colour = image.info.get("transparency")
    if isinstance(colour, int):
        wide[wide == colour] = 0
    return ((wide + 128) // 257).astype(np.uint8)


def _grey_if_equal(colour: UInt8[np.ndarray, "h w c"]) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    first = colour[..., 0]
    if all(np.array_equal(first, colour[..., channel]) for channel in range(1, colour.shape[-1])):
        return np.ascontiguousarray(first)
    return colour
