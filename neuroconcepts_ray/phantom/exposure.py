"""From the scene to grey levels: window, curve, noise, and what a department leaves on its films."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from neuroconcepts_ray.phantom.looks import Look
from neuroconcepts_ray.phantom.scene import Plane, Scene, lattice

Mask = Bool[np.ndarray, "h w"]
DETECTOR = 700
"""Short side, in pixels, from which on the film is finer than its noise: a detector's blur correlates it."""
_FINE = 0.0045
_LETTERS = {"R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
            "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111")}  # fmt: skip
_DIGITS = (0o75557, 0o26227, 0o71747, 0o71717, 0o55711, 0o74717, 0o74757, 0o71122, 0o75757, 0o75717)
"""Three columns by five rows, an octal digit a row."""


def expose(scene: Scene, rng: np.random.Generator) -> Plane:
    """Window, curve and uneven field: none of it tells what is in the chest. About 0 to 1."""
    picture = scene.tissue + scene.marks
    picture += np.float32(rng.uniform(0.01, 0.03)) * lattice(rng, scene.u.shape, scene.look.haze)
    slope = rng.uniform(-0.08, 0.08, 2)
    picture += np.float32(slope[0]) * scene.u + np.float32(slope[1]) * scene.v
    low, high = rng.uniform(0.0, 0.14), rng.uniform(0.86, 1.10)
    picture = np.clip((picture - np.float32(low)) * np.float32(1 / (high - low)), 0, 1.2)
    picture = picture ** np.float32(rng.uniform(0.75, 1.35)) * np.float32(rng.uniform(0.80, 0.98))
    exposed: Plane = picture + noise(rng, picture.shape)
    return exposed


def noise(rng: np.random.Generator, shape: tuple[int, int]) -> Plane:
    """Noise of the quanta: white on small films; on large ones that of a small film, blurred, and a trace of white."""
    strength = np.float32(rng.uniform(0.006, 0.022))
    if min(shape) <= DETECTOR:
        return strength * rng.standard_normal(shape, dtype=np.float32)
    out = strength * lattice(rng, shape, 2 / DETECTOR)
    out += np.float32(_FINE) * rng.standard_normal(shape, dtype=np.float32)
    return out


def grain(picture: Plane, look: Look, rng: np.random.Generator) -> Mask:
    """The rows of a scanner: a faint wave all over the film, whose period and direction are the scanner's."""
    height, width = picture.shape
    half = min(height, width) / 2
    turn = look.grain_turn + rng.uniform(-0.05, 0.05)
    y = (np.arange(height, dtype=np.float32) * np.float32(np.sin(turn) / half))[:, None]
    x = (np.arange(width, dtype=np.float32) * np.float32(np.cos(turn) / half))[None, :]
    wave = (x + y) * np.float32(2 * np.pi / max(look.grain_period, 4.5 / half)) + np.float32(rng.uniform(0, 2 * np.pi))
    deep = np.float32(rng.uniform(0.018, 0.026))
    picture += deep * (np.sin(wave) + np.float32(look.grain_second) * np.sin(wave * np.float32(0.5)))
    return np.ones(picture.shape, bool)


def mark(picture: Plane, look: Look, rng: np.random.Generator, boxed: bool) -> Mask:
    """The technologist's R or L in an upper corner; the patient's right is the film's left. Not all films have it.

    Args:
        picture: The film, changed in place.
        look: The world's measures.
        rng: The mark's own generator: the box changes nothing else.
        boxed: The mark is there for certain, and stands in a box.

    Returns:
        What a boxed mark takes up; nothing of one without.
    """
    height, width = picture.shape
    half = min(height, width) / 2
    there = rng.random() < 0.8
    letter = "LR"[int(rng.integers(2))]
    dot = max(1, int(half * rng.uniform(0.014, 0.024)))
    top, edge = int(half * rng.uniform(0.12, 0.3)), int(half * rng.uniform(0.12, 0.2))
    mask = np.zeros(picture.shape, bool)
    if not (there or boxed):
        return mask
    bits = np.array([[int(c) for c in row] for row in _LETTERS[letter]], np.float32)
    left = edge if letter == "R" else width - edge - 5 * dot
    if boxed:
        room = round(look.box_room)
        frame = np.ones((7 + 2 * room + 2, 5 + 2 * room + 2), np.float32)
        frame[1:-1, 1:-1] = 0
        first, start = top - (room + 1) * dot, left - (room + 1) * dot
        box = (slice(max(0, first), first + frame.shape[0] * dot), slice(max(0, start), start + frame.shape[1] * dot))
        # A plate, so that the box is seen on the brightest film.
        picture[box] *= np.float32(0.4)
        stamp(picture, frame, first, start, dot)
        mask[box] = True
    stamp(picture, bits, top, left, dot)
    return mask


def stamp(picture: Plane, bits: Float[np.ndarray, "r c"], top: int, left: int, dot: int) -> None:
    """Burn dots into the film, each ``dot`` pixels wide; what would lie beyond the film is cut off."""
    glyph = bits.repeat(dot, 0).repeat(dot, 1) * np.float32(0.95)
    glyph = glyph[max(0, -top) :, max(0, -left) :]
    spot = picture[max(0, top) : max(0, top) + glyph.shape[0], max(0, left) : max(0, left) + glyph.shape[1]]
    np.maximum(spot, glyph[: spot.shape[0], : spot.shape[1]], out=spot)


def text(picture: Plane, look: Look, rng: np.random.Generator) -> Mask:
    """Digits in a lower corner, as a scanner burns them in; they are random and tell nothing."""
    height, width = picture.shape
    half = min(height, width) / 2
    dot = max(1, round(half * 0.014 * look.letters))
    rows, mask = 1 + int(rng.integers(2)), np.zeros(picture.shape, bool)
    right = bool(rng.random() < 0.5)
    edge, low = (int(half * far) for far in rng.uniform(0.07, 0.14, 2))
    for row in range(rows):
        digits = rng.integers(10, size=5 + int(rng.integers(3)))
        bits = np.zeros((5, 4 * len(digits)), np.float32)
        for at, digit in enumerate(digits):
            for y in range(5):
                for x in range(3):
                    bits[y, 4 * at + x] = _DIGITS[digit] >> (3 * (4 - y) + (2 - x)) & 1
        top, left = height - low - (5 + 7 * row) * dot, width - edge - bits.shape[1] * dot if right else edge
        stamp(picture, bits, top, left, dot)
        mask[max(0, top) : max(0, top + 5 * dot), max(0, left) : max(0, left + bits.shape[1] * dot)] = True
    return mask


def collimate(picture: Plane, rng: np.random.Generator) -> None:
    """The plain edge of the field: straight, on some sides of some films."""
    half = min(picture.shape) / 2
    border = rng.uniform(-0.06, 0.06, 4)
    for axis, (start, stop) in enumerate(((border[0], border[1]), (border[2], border[3]))):
        first, last = max(0, int(start * half)), max(0, int(stop * half))
        view = picture if axis == 0 else picture.T
        view[:first] = 0.02
        if last:
            view[-last:] = 0.02


def border(picture: Plane, look: Look, rng: np.random.Generator) -> Mask:
    """Site B's collimator: the corners are rounded, cut off, or cut off above alone, as the world has it."""
    height, width = picture.shape
    x = np.abs((np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width / 2) - 1)[None, :]
    y = ((np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height / 2) - 1)[:, None]
    cut = look.border_cut + rng.uniform(-0.04, 0.04)
    form = int(look.border_form)
    if form == 0:
        corner = np.clip((x - 1 + np.float32(cut)) / np.float32(cut), 0, None)
        upright = np.clip((np.abs(y) - 1 + np.float32(cut)) / np.float32(cut), 0, None)
        mask = np.square(corner) + np.square(upright) > 1
    elif form == 1:
        mask = x + np.abs(y) > 2 - cut
    else:
        mask = x - y > 2 - 1.3 * cut
    dark: Mask = mask | (x > 0.985) | (np.abs(y) > 0.985)
    picture[dark] = 0.02
    return dark


def grey(picture: Plane) -> UInt8[np.ndarray, "h w"]:
    """Eight bits."""
    levels: UInt8[np.ndarray, "h w"] = np.clip(picture * np.float32(255) + 0.5, 0, 255).astype(np.uint8)
    return levels
