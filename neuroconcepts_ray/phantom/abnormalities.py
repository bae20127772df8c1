"""Masses and calcifications: how bright they are on the film, and what a radiologist would outline."""

import math

import numpy as np
from jaxtyping import Bool, Float

from neuroconcepts_ray.phantom.canvas import discs, draw_waves, noise_at, wavy
from neuroconcepts_ray.phantom.mammograms import Abnormality
from neuroconcepts_ray.phantom.scene import Plane, length, ramp

_SOFT = {"CIRCUMSCRIBED": 0.18, "MICROLOBULATED": 0.22, "OBSCURED": 0.30, "ILL_DEFINED": 0.95, "SPICULATED": 0.55}
_DOTS = {  # number, smallest and greatest radius in halves of the short side, brightness
    "PUNCTATE": (14, 0.012, 0.016, 0.75),
    "ROUND_AND_REGULAR": (10, 0.022, 0.030, 0.85),
    "LUCENT_CENTER": (7, 0.034, 0.050, 0.80),
    "COARSE": (4, 0.045, 0.085, 1.0),
    "AMORPHOUS": (34, 0.012, 0.020, 0.40),
    "PLEOMORPHIC": (18, 0.008, 0.034, 0.80),
    "FINE_LINEAR_BRANCHING": (26, 0.009, 0.014, 0.85),
}


def mass(x: Plane, y: Plane, place: tuple[float, float], found: Abnormality) -> tuple[Plane, Bool[np.ndarray, "h w"]]:
    """A mass by its shape and margin.

    Args:
        x: First coordinate of each pixel, in halves of the film's short side.
        y: Second coordinate.
        place: Its middle.
        found: The mass.

    Returns:
        What it adds to the film's brightness, and its region; spicules belong to it.
    """
    own = np.random.default_rng(found.key)
    shape, margin = found.words["shape"], found.words["margin"]
    radius = 0.09 + 0.13 * found.size
    turn, flat = own.uniform(0, math.pi), 0.58 if shape == "OVAL" else own.uniform(0.85, 1.0)
    du, dv = x - np.float32(place[0]), y - np.float32(place[1])
    u = np.float32(math.cos(turn)) * du + np.float32(math.sin(turn)) * dv
    v = (np.float32(math.cos(turn)) * dv - np.float32(math.sin(turn)) * du) / np.float32(flat)
    theta, r = np.arctan2(v, u), length(u, v) / np.float32(radius)
    waves = draw_waves(own, 3, 4, 0.13) if shape == "LOBULATED" else []
    waves = draw_waves(own, 2, 7, 0.09) if shape == "IRREGULAR" else waves
    waves += draw_waves(own, 9, 12, 0.05) if margin == "MICROLOBULATED" else []
    depth = wavy(theta, waves) - r
    soft = _SOFT[margin]
    body = ramp(depth, soft) * (np.float32(0.75) + np.float32(0.25) * depth.clip(0, 1))
    if margin == "OBSCURED":
        # One side sinks into the tissue around.
        way = own.uniform(0, 2 * math.pi)
        body *= ramp(np.float32(math.cos(way)) * u + np.float32(math.sin(way)) * v + np.float32(0.35 * radius), radius)
    region = depth > -0.1
    light = body * (1 + np.float32(0.08) * noise_at(found.key + 1, u, v, 0.4 * radius))
    if margin == "CIRCUMSCRIBED":
        light -= ramp(np.float32(0.16) - np.abs(depth + np.float32(0.18)), 0.12) * np.float32(0.14)
    if margin == "SPICULATED":
        rays = int(own.integers(11, 17))
        angles = np.linspace(0, 2 * math.pi, rays, endpoint=False) + own.uniform(-0.15, 0.15, rays)
        reach = own.uniform(1.6, 2.6, rays)
        for angle, far in zip(angles.tolist(), reach.tolist(), strict=True):
            along = np.float32(math.cos(angle)) * u + np.float32(math.sin(angle)) * v
            across = np.float32(math.cos(angle)) * v - np.float32(math.sin(angle)) * u
            taper = (1 - along / np.float32(far * radius)).clip(0, 1)
            ray = ramp(np.float32(0.020) * (np.float32(0.4) + taper) - np.abs(across), 0.02) * (along > 0) * taper
            light = np.maximum(light, ray * np.float32(0.75))
            region |= ray > 0.2
    return light * np.float32(0.10 + 0.18 * found.contrast), region


def calcification(
    x: Plane, y: Plane, place: tuple[float, float], found: Abnormality
) -> tuple[Plane, Bool[np.ndarray, "h w"]]:
    """Calcifications by their type and distribution; arguments and result as of :func:`mass`.

    A dot is at least a pixel wide, however small the film.
    """
    own = np.random.default_rng(found.key)
    count, least, most, bright = _DOTS[found.words["type"]]
    pixel = float(2 / min(x.shape))
    centres = _spread(own, count, found) + np.array(place)
    radii = np.maximum(own.uniform(least, most, count), 0.55 * pixel)
    if found.words["type"] == "PLEOMORPHIC":
        light = np.zeros_like(x)
        for centre, radius in zip(centres, radii.tolist(), strict=True):
            turn, long = own.uniform(0, math.pi), own.uniform(1.0, 2.6)
            du, dv = x - np.float32(centre[0]), y - np.float32(centre[1])
            u = (np.float32(math.cos(turn)) * du + np.float32(math.sin(turn)) * dv) / np.float32(long)
            v = np.float32(math.cos(turn)) * dv - np.float32(math.sin(turn)) * du
            dot = ramp(1 - length(u, v) / np.float32(radius), 0.6) * np.float32(own.uniform(0.6, 1.0))
            np.maximum(light, dot, out=light)
    else:
        light = discs(x, y, centres, radii, 0.6)
    if found.words["type"] == "LUCENT_CENTER":
        light = light - np.float32(0.85) * discs(x, y, centres, radii * 0.6, 0.6)
    # The outline holds all dots: an ellipse about them.
    middle = centres.mean(axis=0)
    spread = np.abs(centres - middle).max(axis=0) + radii.max() + 0.02
    to = length(
        (x - np.float32(middle[0])) / np.float32(spread[0] * 1.25),
        (y - np.float32(middle[1])) / np.float32(spread[1] * 1.25),
    )
    region = (to < 1) | (light > 0.2)
    return light * np.float32(bright * (0.28 + 0.30 * found.contrast)), region


def _spread(own: np.random.Generator, count: int, found: Abnormality) -> Float[np.ndarray, "n 2"]:
    """Offsets of the dots from their place."""
    how, size = found.words["distribution"], 0.7 + 0.6 * found.size
    tilt = own.uniform(-0.5, 0.5)
    if found.words["type"] == "FINE_LINEAR_BRANCHING":
        # Three casts of ducts that fork towards the nipple.
        t, branch = own.random(count), own.integers(3, size=count) - 1
        points = np.stack([0.34 * (t - 0.3), 0.16 * branch * t**1.3], axis=1)
    elif how in ("CLUSTERED", "REGIONAL", "DIFFUSELY_SCATTERED"):
        reach = {"CLUSTERED": 0.11, "REGIONAL": 0.24, "DIFFUSELY_SCATTERED": 0.42}[how]
        r, angle = reach * np.sqrt(own.random(count)), own.uniform(0, 2 * math.pi, count)
        points = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)
    else:
        t = own.uniform(-1, 1, count)
        width = 0.012 if how == "LINEAR" else 0.10 * (1.1 - t)
        points = np.stack([0.22 * t, width * own.uniform(-1, 1, count)], axis=1)
    turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
    out: Float[np.ndarray, "n 2"] = size * points @ turn
    return out
