"""What Pillow reads: JPEG, PNG and TIFF of every mode and depth, as uint8 grey or RGB."""

import io
import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

from neuroconcepts_ray.imaging.bounds import MAX_PIXELS, check_size, grey_if_equal, to_8_bits
from neuroconcepts_ray.imaging.ifd import first_directory, is_tiff, orientation
from neuroconcepts_ray.imaging.jpeg import JPEG, jpeg_frame
from neuroconcepts_ray.imaging.quiet import quiet
from neuroconcepts_ray.imaging.undecodable import Undecodable

PNG = b"\x89PNG\r\n\x1a\n"

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _FORMAT = (
    256,
    257,
    258,
    262,
    277,
    322,
    323,
    339,
)
_UNSIGNED, _SIGNED, _UNDEFINED = 1, 2, 4
_WHITE_IS_ZERO = 0


class _Claim(NamedTuple):
    """What a header claims, before any decoder reserves memory for it."""

    form: str
    width: int
    height: int
    bits: int = 16
    signed: bool = False
    white_is_zero: bool = False


def is_raster(data: bytes) -> bool:
    """Whether bytes begin as a JPEG, PNG or TIFF."""
    return data.startswith((PNG, JPEG)) or is_tiff(data)


def _claim(data: bytes) -> _Claim:
    if data.startswith(PNG):
        if len(data) < 24:
            raise Undecodable("truncated")
        if data[12:16] != b"IHDR":
            raise Undecodable("damaged")
        return _Claim("PNG", *struct.unpack(">II", data[16:24]))
    if data.startswith(JPEG):
        frame = jpeg_frame(data)
        return _Claim("JPEG", frame.width, frame.height)
    return _tiff_claim(data)


def _tiff_claim(data: bytes) -> _Claim:
    wanted = (_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _TILE_WIDTH, _TILE_HEIGHT, _FORMAT)
    try:
        tags = first_directory(data, wanted)
    except (struct.error, ValueError, OverflowError):
        raise Undecodable("truncated") from None
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise Undecodable("damaged")
    tile = tags.get(_TILE_WIDTH, (0,))[0] * tags.get(_TILE_HEIGHT, (0,))[0]
    if tile > MAX_PIXELS or tags.get(_SAMPLES, (1,))[0] > 8:
        raise Undecodable("too many pixels", limit=f"{MAX_PIXELS} pixels")
    bits, kind = max(tags.get(_BITS, (1,))), tags.get(_FORMAT, (_UNSIGNED,))[0]
    if kind not in (_UNSIGNED, _SIGNED, _UNDEFINED) or bits > 16:
        raise Undecodable("no declared range", value=f"{bits} bits")
    white = tags.get(_PHOTOMETRIC, (1,))[0] == _WHITE_IS_ZERO
    return _Claim("TIFF", tags[_WIDTH][0], tags[_HEIGHT][0], bits, kind == _SIGNED, white)


def decode_raster(data: bytes) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """Decode one JPEG, PNG or TIFF (of several pages the first), by the rules of :func:`decode.decode`.

    Args:
        data: The file's bytes, for which :func:`is_raster` holds.

    Returns:
        uint8 [h, w] or [h, w, 3], upright.

    Raises:
        Undecodable: The bytes will never decode.
    """
    claim = _claim(data)
    check_size(claim.width, claim.height)
    try:
        image = open_image(data, claim.form)
        with image:
            if claim.form == "TIFF":
                with quiet():  # libtiff's directory is read again here, and Pillow turns it upright by itself
                    image.load()
                return _deep(image, claim) if _is_deep(image.mode) else to_uint8(image)
            image.load()
            return upright(to_uint8(image), orientation(image.info.get("exif")))
    except (MemoryError, Undecodable):
        raise
    except Exception as error:  # hostile bytes make Pillow raise OSError, SyntaxError, ValueError, struct.error …
        raise Undecodable(cause_of(error)) from error


def decode_scaled(
    data: bytes, choose: Callable[[int, int], int], channels: int
) -> tuple[UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"], tuple[float, float]] | None:
    """Decode a JPEG at a fraction of its size: the inverse DCT gives fewer pixels of each block (libjpeg's scaling).

    Of colour, one channel is the luma that the JPEG holds, without the detour over RGB.

    Args:
        data: The file's bytes.
        choose: From width and height to the divisor: 1, 2, 4 or 8.
        channels: 1 or 3.

    Returns:
        uint8 [h, w] or [h, w, 3], and how many of its columns and rows the image covers (the last may be covered in
        part); None where :func:`decode_raster` is due, because it would give no more pixels and no more channels, or
        the file is no JPEG of 8 bits in one or three components that stands upright.

    Raises:
        Undecodable: The bytes will never decode.
    """
    if not data.startswith(JPEG):
        return None
    frame = jpeg_frame(data)
    if frame.bits != 8 or frame.components not in (1, 3):
        return None
    check_size(frame.width, frame.height)
    try:
        with open_image(data, "JPEG") as image:
            divisor = choose(frame.width, frame.height)
            mode = "L" if channels == 1 or frame.components == 1 else "RGB"
            if (divisor, mode) == (1, image.mode) or orientation(image.info.get("exif")) != 1:
                return None
            image.draft(mode, (frame.width // divisor, frame.height // divisor))
            pixels = np.array(image, dtype=np.uint8)
    except (MemoryError, Undecodable):
        raise
    except Exception as error:
        raise Undecodable(cause_of(error)) from error
    return pixels, (frame.width / divisor, frame.height / divisor)


def cause_of(error: Exception) -> str:
    """Why Pillow gave up."""
    text = str(error).lower()
    return "truncated" if "truncated" in text or "not enough image data" in text else "damaged"


def open_image(data: bytes, form: str) -> Image.Image:
    """Read the header of an image whose claimed size was checked; what Pillow complains of stays here."""
    with quiet():
        return Image.open(io.BytesIO(data), formats=(form,))


def upright(pixels: Shaped[np.ndarray, "a b *c"], told: int) -> Shaped[np.ndarray, "d e *c"]:
    """Turn and mirror pixels as EXIF tells (CIPA DC-008 §4.6.4, tag Orientation).

    Args:
        pixels: As they are stored.
        told: 1 to 8.
    """
    if told in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if told in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if told in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def to_uint8(image: Image.Image) -> UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]:
    """The pixels of a Pillow image of any mode, by the rules of :func:`decode.decode`.

    Args:
        image: A loaded image.

    Returns:
        uint8 [h, w] or [h, w, 3].

    Raises:
        Undecodable: A mode without a declared range (floating point).
    """
    mode = image.mode
    if mode == "F":
        raise Undecodable("no declared range", value="floating point")
    if _is_deep(mode):
        return _from_16_bits(image)
    if mode in ("RGBa", "La"):
        # Premultiplied: the stored colour is the one composited on black already.
        return grey_if_equal(np.stack([np.asarray(image.getchannel(i)) for i in range(len(mode) - 1)], axis=-1))
    if mode in ("RGBA", "LA", "PA") or _has_transparent_colour(image):
        rgba = np.asarray(image.convert("RGBA"), dtype=np.uint16)
        return grey_if_equal(((rgba[..., :3] * rgba[..., 3:] + 127) // 255).astype(np.uint8))
    if mode == "L":
        return np.array(image, dtype=np.uint8)
    if mode == "1":
        return np.array(image.convert("L"), dtype=np.uint8)
    return grey_if_equal(np.asarray(image if mode == "RGB" else image.convert("RGB"), dtype=np.uint8))


def _is_deep(mode: str) -> bool:
    return mode == "I" or mode.startswith("I;16")


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
    return to_8_bits(wide, 65535)


def _deep(image: Image.Image, claim: _Claim) -> UInt8[np.ndarray, "h w"]:
    """Grey of a TIFF deeper than 8 bits: the whole range of its bits, so that of 12 bits 4,095 is white."""
    top = (1 << claim.bits) - 1
    values = np.asarray(image).astype(np.int64) + (((top + 1) // 2) if claim.signed else 0)
    pixels = to_8_bits(values.clip(0, top), top)
    return 255 - pixels if claim.white_is_zero else pixels
