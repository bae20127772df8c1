"""Painting in a frame of one's own: noise that turns with what it covers, discs, strokes, closed outlines."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from neuroconcepts_ray.phantom.scene import Plane, Stroke, length, ramp

_GRID = 64


def noise_at(key: int, u: Plane, v: Plane, cell: float) -> Plane:
    """Smooth value noise, about standard normal, fixed to the coordinates and not to the film.

    Args:
        key: Seed of the noise.
        u: First coordinate of each pixel.
        v: Second coordinate.
        cell: Size of a grain in the coordinates' unit; the pattern repeats after 64 grains.
    """
    grid = np.random.default_rng(key).standard_normal((_GRID, _GRID), dtype=np.float32) * np.float32(1.5)
    parts = []
    for axis in (v, u):
        x = axis * np.float32(1 / cell)
        low = np.floor(x)
        x = x - low
        i = low.astype(np.int32) % _GRID
        parts.append((i, (i + 1) % _GRID, x * x * (3 - 2 * x)))
    (i, i1, y), (j, j1, x) = parts
    top = grid[i, j] + (grid[i, j1] - grid[i, j]) * x
    low = grid[i1, j] + (grid[i1, j1] - grid[i1, j]) * x
    out: Plane = (top + (low - top) * y).astype(np.float32)
    return out


def discs(
    u: Plane, v: Plane, centres: Float[np.ndarray, "n 2"], radii: Float[np.ndarray, " n"], soft: float = 0.3
) -> Plane:
    """1 in any of the discs, 0 outside of all; the edge of each is ``soft`` of its radius wide."""
    out = np.zeros_like(u)
    for (x, y), radius in zip(centres.tolist(), radii.tolist(), strict=True):
        np.maximum(
            out, ramp(np.float32(1) - length(u - np.float32(x), v - np.float32(y)) / np.float32(radius), soft), out=out
        )
    return out


def wavy(theta: Plane, waves: Sequence[tuple[int, float, float]]) -> Plane:
    """1 + Σ a·cos(k·θ + φ) for waves (k, a, φ): the radius of a closed outline by its angle."""
    out = np.ones_like(theta)
    for k, size, phase in waves:
        out += np.float32(size) * np.cos(np.float32(k) * theta + np.float32(phase))
    return out


def draw_waves(rng: np.random.Generator, first: int, last: int, size: float) -> list[tuple[int, float, float]]:
    """Waves ``first`` to ``last`` of an outline, of about the given size each, with phases by chance."""
    return [
        (k, size * float(rng.uniform(0.5, 1.0)), float(rng.uniform(0, 2 * math.pi))) for k in range(first, last + 1)
    ]


def strokes(shape: tuple[int, int], lines: Sequence[Stroke], width: float) -> Plane:
    """Polylines on the film with soft edges, from 0 to 1.

    Args:
        shape: Rows and columns.
        lines: Points (right, down) from the film's middle, in halves of its short side.
        width: Thickness, in the same unit.
    """
    height, columns = shape
    fine = 3 if min(shape) < 400 else 1
    canvas = Image.new("L", (columns * fine, height * fine))
    pen = ImageDraw.Draw(canvas)
    half = min(shape) / 2
    for line in lines:
        dots = [((x * half + columns / 2) * fine, (y * half + height / 2) * fine) for x, y in line]
        pen.line(dots, fill=255, width=max(1, round(width * half * fine)))
    if fine > 1:
        canvas = canvas.reduce(fine)
    return np.asarray(canvas, dtype=np.float32) * np.float32(1 / 255)
