"""The picture as it grows: coordinates of the body, shapes with soft edges, smooth noise."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw

from neuroconcepts_ray.phantom.looks import Look

Plane = Float[np.ndarray, "h w"]
Stroke = Sequence[tuple[float, float]]


def ramp(distance: Plane, soft: float) -> Plane:
    """1 inside (positive distance), 0 outside, a straight slope of width ``soft`` between."""
    slope: Plane = distance * np.float32(1 / soft) + np.float32(0.5)
    return slope.clip(0, 1)


def bump(distance: Plane, width: float) -> Plane:
    """1 at distance 0, falling smoothly to 0 at ``width``."""
    x: Plane = np.clip(1 - np.square(distance * np.float32(1 / width)), 0, 1)
    x *= x
    return x


def length(x: Plane, y: Plane) -> Plane:
    """√(x² + y²); ten times as fast as numpy's hypot, whose care about overflow is not needed here."""
    total: Plane = x * x
    total += y * y
    np.sqrt(total, out=total)
    return total


def lattice(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Plane:
    """Smooth value noise, about standard normal, with grains of size ``cell`` in halves of the film's short side."""
    half = min(shape) / 2
    at = []
    for pixels in shape:
        # The grid has a random offset, so that no grain has a fixed place.
        x = (np.arange(pixels, dtype=np.float32) + 0.5) / np.float32(half * cell) + np.float32(rng.random())
        i = x.astype(np.int32)
        x -= i
        at.append((i, x * x * (3 - 2 * x)))
    (i, y), (j, x) = at
    grid = rng.standard_normal((int(i[-1]) + 2, int(j[-1]) + 2), dtype=np.float32) * np.float32(1.5)
    rows: Plane = grid[i] + (grid[i + 1] - grid[i]) * y[:, None]
    out: Plane = rows[:, j] + (rows[:, j + 1] - rows[:, j]) * x
    return out


def ridges(noise: Plane, width: float) -> Plane:
    """Thin winding lines: where smooth noise crosses zero."""
    height: Plane = 1 - np.abs(noise) * np.float32(1 / width)
    return height.clip(0, 1)


@dataclass(frozen=True)
class Pose:
    """How the body lies on the film: x = size·R(turn)·u + shift, in halves of the short side."""

    size: float
    turn: float
    right: float
    down: float

    def to_film(self, points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        """Body points to film points."""
        cos, sin = self.size * np.cos(self.turn), self.size * np.sin(self.turn)
        u, v = points.T
        film: Float[np.ndarray, "n 2"] = np.stack(
            [cos * u - sin * v + self.right, sin * u + cos * v + self.down], axis=1
        )
        return film

    def grid(self, height: int, width: int) -> tuple[Plane, Plane]:
        """Body coordinates (u to the patient's left, v downwards) of every pixel."""
        half = min(height, width) / 2
        x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / half - self.right)[None, :]
        y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / half - self.down)[:, None]
        cos, sin = np.float32(np.cos(self.turn) / self.size), np.float32(np.sin(self.turn) / self.size)
        return (cos * x + sin * y).astype(np.float32), (cos * y - sin * x).astype(np.float32)


@dataclass
class Lung:
    """One lung field, with a frame of its own: p from 0 (inner) to 1 (outer wall), q from 0 (apex) to 1 (base)."""

    mask: Plane
    p: Plane
    q: Plane
    sign: float
    inner: float
    wall: float
    apex: float
    base: float

    def at(self, p: float, q: float) -> tuple[float, float]:
        """The body point at (p, q), well enough to put something there."""
        narrow = 1 - 0.45 * max(0.0, 0.45 - q) / 0.45
        a = self.inner + p * (self.wall * narrow - self.inner)
        return self.sign * a, self.apex + q * (self.base - self.apex)


@dataclass
class Scene:
    """The film while it is being painted."""

    u: Plane
    v: Plane
    pose: Pose
    lungs: dict[str, Lung]
    tissue: Plane
    marks: Plane
    heart: Plane
    view: str
    anatomy: dict[str, float]
    look: Look
    masks: dict[str, Bool[np.ndarray, "h w"]] = field(default_factory=dict)

    @property
    def pixel(self) -> float:
        """Size of a pixel in the body's frame."""
        height, width = self.u.shape
        return float(2 / (min(height, width) * self.pose.size))

    def lines(self, strokes: Sequence[Stroke] | Float[np.ndarray, "n k 2"], width: float) -> Plane:
        """Polylines of the body's frame, drawn ``width`` thick with soft edges."""
        height, columns = self.u.shape
        fine = 3 if min(height, columns) < 640 else 1
        canvas = Image.new("L", (columns * fine, height * fine))
        pen = ImageDraw.Draw(canvas)
        half = min(height, columns) / 2
        thick = max(1, round(width * self.pose.size * half * fine))
        film = self.pose.to_film(np.concatenate([np.asarray(stroke) for stroke in strokes]))
        dots = ((film * half + np.array([columns / 2, height / 2])) * fine).tolist()
        # Rounded joints are slow, and show in thick lines only.
        joint = "curve" if thick > 8 else None
        start = 0
        for stroke in strokes:
            pen.line([tuple(dot) for dot in dots[start : start + len(stroke)]], fill=255, width=thick, joint=joint)
            start += len(stroke)
        if fine > 1:
            canvas = canvas.reduce(fine)
        return np.asarray(canvas, dtype=np.float32) * np.float32(1 / 255)


def curve(*points: tuple[float, float], steps: int = 12) -> list[tuple[float, float]]:
    """The Bézier curve of a control polygon, as a polyline (de Casteljau's construction for all steps at once)."""
    t = np.linspace(0, 1, steps)[:, None]
    row = [np.array(point)[None, :] for point in points]
    while len(row) > 1:
        row = [a + (b - a) * t for a, b in pairwise(row)]
    return [(u, v) for u, v in row[0].tolist()]
