"""How a film looks, in 4 KB: a perceptual hash that finds candidates for a twin, and a thumbnail that confirms them."""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8, UInt64
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from scipy.ndimage import affine_transform, gaussian_filter

from neuroconcepts_ray.imaging.bounds import MAX_PIXELS
from neuroconcepts_ray.imaging.decode import decode

BITS = 256
"""Of the hash: pHash, the signs of the 16×16 lowest frequencies of a film about their median."""

SIDE = 64
"""Of the thumbnail, in pixels; also the size that the hash is computed from."""

FLAT = 4.0
"""Standard deviation of the thumbnail, in grey levels of 255, below which there is nothing to recognise."""

FINE = 3.0
"""Standard deviation in pixels of the blur that is subtracted: what all chests share is coarser."""

MARGIN = 5
"""Pixels at each edge that are not compared, so that a crop can be undone."""

FARTHEST = 0.12
"""Largest shift (of half a film) and scaling that are undone."""


@dataclass(frozen=True)
class Look:
    """How a film looks.

    Attributes:
        hash: Its 256 bits.
        thumb: The whole film as a square.
    """

    hash: UInt8[np.ndarray, "32"]
    thumb: UInt8[np.ndarray, "64 64"]


def look(data: bytes) -> Look | None:
    """How a film looks; None where it cannot be decoded or shows nothing.

    A JPEG is decoded at an eighth to the whole of its size, at least 128 pixels wide where it has them.

    Args:
        data: The file's bytes.
    """
    import imagehash  # loads scipy's transforms and wavelets

    try:
        image = _grey(data)
        thumb = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.uint8)
        if thumb.std() < FLAT:
            return None
        return Look(np.packbits(imagehash.phash(image, hash_size=16).hash), thumb)
    except MemoryError:
        raise
    except Exception:  # whatever a decoder says of hostile bytes; the stage that needs the pixels tells the cause
        return None


def _grey(data: bytes) -> Image.Image:
    if not data.startswith(b"\xff\xd8"):
        return Image.fromarray(np.ascontiguousarray(decode(data))).convert("L")
    image = JpegImageFile(io.BytesIO(data))
    if image.width * image.height > MAX_PIXELS:
        raise ValueError("too many pixels")
    image.draft("L", (2 * SIDE, 2 * SIDE))
    return ImageOps.exif_transpose(image).convert("L")


def words(hashes: UInt8[np.ndarray, "n 32"]) -> UInt64[np.ndarray, "n 4"]:
    """Hashes as machine words, for counting bits."""
    return np.ascontiguousarray(hashes).view(np.uint64)


def details(thumb: UInt8[np.ndarray, "64 64"]) -> Float64[np.ndarray, "64 64"]:
    """What tells one chest from another: the thumbnail less its blur."""
    grey = thumb.astype(np.float64)
    return np.asarray(grey - gaussian_filter(grey, FINE))


_INNER = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
_AXIS = np.linspace(-1.0, 1.0, SIDE)
_X = np.tile(_AXIS, (SIDE, 1))
_Y = _X.T


def likeness(
    a: Float64[np.ndarray, "64 64"], b: Float64[np.ndarray, "64 64"], *, enough: float = 0.94, hopeless: float = 0.5
) -> float:
    """Correlation of two films' details, the one shifted and scaled so as to lie on the other.

    Lucas and Kanade's alignment (IJCAI 1981) over shift and scale of each axis, by Gauss–Newton steps; first the one
    film is moved, then the other.

    Args:
        a: Details of a film.
        b: Details of another.
        enough: Correlation from which on nothing more is tried.
        hopeless: Correlation in place below which nothing is tried.

    Returns:
        −1 to 1; the best that was met.
    """
    best = _correlation(a[_INNER], b[_INNER])
    if best < hopeless:
        return best
    for moved, still in ((a, b), (b, a)):
        if best >= enough:
            break
        best = max(best, _aligned(moved, still, enough))
    return best


def _aligned(moved: Float64[np.ndarray, "64 64"], still: Float64[np.ndarray, "64 64"], enough: float) -> float:
    place = np.array([1.0, 0.0, 1.0, 0.0])  # scale and shift along x, scale and shift along y
    target, best, lying = _unit(still[_INNER]), -1.0, moved
    for _ in range(6):
        gy, gx = np.gradient(lying, _AXIS, _AXIS)
        inner = lying[_INNER]
        norm = np.linalg.norm(inner - inner.mean())
        if norm < 1e-9:
            break
        now = _unit(inner)
        slopes = [(gx * _X)[_INNER], gx[_INNER], (gy * _Y)[_INNER], gy[_INNER]]
        jacobian = np.stack([*(slope.ravel() / norm for slope in slopes), now.ravel()])
        # The normal equations: five unknowns, and a tenth of what a decomposition of the Jacobian costs.
        square = jacobian @ jacobian.T + 1e-9 * np.eye(5)
        step = np.linalg.solve(square, jacobian @ (target - now).ravel())[:4]
        place += step
        if np.abs(place - (1, 0, 1, 0)).max() > FARTHEST:
            break
        lying = _warp(moved, place)
        best = max(best, _correlation(lying[_INNER], still[_INNER]))
        if best >= enough or np.abs(step).max() < 1e-3:
            break
    return best


def _warp(film: Float64[np.ndarray, "64 64"], place: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, "64 64"]:
    sx, tx, sy, ty = place
    half = (SIDE - 1) / 2
    offset = [half * (1 + ty - sy), half * (1 + tx - sx)]
    return np.asarray(affine_transform(film, [sy, sx], offset, order=1, mode="nearest"))


def _unit(values: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9))


def _correlation(a: Float64[np.ndarray, "h w"], b: Float64[np.ndarray, "h w"]) -> float:
    return float((_unit(a) * _unit(b)).sum())
