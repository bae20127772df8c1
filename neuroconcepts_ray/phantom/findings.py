"""How each finding looks: local, at varying places, by shape and texture more than by brightness.

A painter changes the scene and returns the mask of what it changed.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from neuroconcepts_ray.phantom.draw import Finding
from neuroconcepts_ray.phantom.scene import Lung, Plane, Scene, bump, curve, lattice, length, ramp, ridges

Mask = Bool[np.ndarray, "h w"]
_ZONE = {"upper": (0.22, 0.42), "mid": (0.42, 0.65), "lower": (0.65, 0.85)}


def _solid(soft: Plane, least: float = 0.5) -> Mask:
    mask: Mask = soft > least
    return mask


def _lungs(scene: Scene, finding: Finding) -> list[Lung]:
    chosen = [scene.lungs[side] for side in finding.sides if side in scene.lungs]
    return chosen[:1] if scene.view == "LATERAL" else chosen


def _blob(scene: Scene, centre: tuple[float, float], radius: float, stretch: float, turn: float) -> Plane:
    """Normalised distance from the centre of an ellipse: 1 at its rim."""
    du, dv = scene.u - np.float32(centre[0]), scene.v - np.float32(centre[1])
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    long, short = radius * np.sqrt(stretch), radius / np.sqrt(stretch)
    distance: Plane = length((du * cos + dv * sin) / np.float32(long), (dv * cos - du * sin) / np.float32(short))
    return distance


def consolidation(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """A fluffy patch with ragged rim and dark air bronchograms."""
    (lung,) = _lungs(scene, finding)
    centre = lung.at(rng.uniform(0.3, 0.75), rng.uniform(*_ZONE[finding.zone]))
    radius = 0.19 + 0.10 * finding.severity
    rim = _blob(scene, centre, radius, rng.uniform(0.8, 1.4), rng.uniform(0, np.pi))
    rim += 0.22 * lattice(rng, scene.u.shape, 0.11)
    patch = ramp(1 - rim, 0.5) * lung.mask
    bronchi = ridges(lattice(rng, scene.u.shape, 0.10), 0.45)
    clouds = lattice(rng, scene.u.shape, 0.055)
    scene.tissue += patch * (0.19 + 0.06 * finding.severity + 0.06 * clouds - 0.17 * bronchi)
    return _solid(patch, 0.5)


def atelectasis(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Plate-like bands: short, straight, bright, near the base."""
    strokes = []
    for lung in _lungs(scene, finding):
        for _ in range(1 + int(rng.integers(2))):
            u, v = lung.at(rng.uniform(0.35, 0.65), rng.uniform(*_ZONE[finding.zone]))
            tilt, reach = rng.uniform(-0.5, 0.5), 0.15 + 0.07 * finding.severity
            du, dv = reach * np.cos(tilt), reach * np.sin(tilt)
            strokes.append([(u - du, v - dv), (u + du, v + dv)])
    inside = sum((lung.mask for lung in _lungs(scene, finding)), np.zeros_like(scene.u))
    band = scene.lines(strokes, 0.050 + 0.015 * finding.severity) * inside
    scene.tissue += band * (0.27 + 0.10 * finding.severity)
    return _solid(band, 0.4)


def edema(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """A fine net over both lungs, densest at the hila; as much darker between its lines as brighter on them."""
    net = ridges(lattice(rng, scene.u.shape, 0.085), 0.55) + ridges(lattice(rng, scene.u.shape, 0.065), 0.5)
    mask = np.zeros_like(scene.u)
    for lung in scene.lungs.values():
        weight = np.clip(1.15 - np.abs(lung.p - 0.2), 0, 1) * np.clip(1.3 - 1.3 * np.abs(lung.q - 0.55), 0, 1)
        mask = np.maximum(mask, weight * lung.mask)
    scene.tissue += mask * (0.09 + 0.10 * finding.severity) * (net - np.float32(0.45))
    return _solid(mask, 0.5)


def lung_lesion(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """One to three round nodules with a sharp rim."""
    (lung,) = _lungs(scene, finding)
    low, high = _ZONE[finding.zone]
    mask = np.zeros_like(scene.u)
    for _ in range(1 + int(rng.integers(3))):
        centre = lung.at(rng.uniform(0.25, 0.8), rng.uniform(low, high))
        radius = (0.070 + 0.04 * finding.severity) * rng.uniform(0.85, 1.15)
        rim = _blob(scene, centre, radius, rng.uniform(0.9, 1.15), rng.uniform(0, np.pi))
        mask = np.maximum(mask, ramp(1 - rim, 0.35))
    scene.tissue += mask * (0.27 + 0.06 * finding.severity) * np.clip(lung.mask + 0.3, 0, 1)
    return _solid(mask, 0.5)


def pleural_effusion(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Fluid that blunts the costophrenic angle: its edge is hollow and climbs the wall, where a diaphragm is domed."""
    total = np.zeros_like(scene.u)
    for lung in _lungs(scene, finding):
        level = 0.99 - (0.03 + 0.22 * finding.severity * rng.uniform(0.8, 1.2))
        climb = rng.uniform(0.20, 0.30)
        edge = level - climb * np.square(np.clip(lung.p, 0, 1)) * np.clip(lung.p, 0, 1)
        fluid = ramp(lung.q - edge, 0.05) * lung.mask
        # What is covered loses its vessels and takes the density of the belly below.
        scene.marks *= 1 - fluid
        scene.tissue += fluid * np.float32(0.30)
        total = np.maximum(total, fluid)
    return _solid(total, 0.5)


def pneumothorax(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Air between lung and wall: no vessels, a shade darker, bounded by the thin bright pleural line."""
    total = np.zeros_like(scene.u)
    for lung in _lungs(scene, finding):
        gap = 0.17 + 0.20 * finding.severity
        apical = rng.uniform(0.5, 1.0)
        edge = 1 - gap * (1 - apical * np.clip(lung.q, 0, 1)) - 0.02 * lattice(rng, scene.u.shape, 0.4)
        # The cap over the apex, so that the line closes.
        edge = np.minimum(edge, 3.2 * (lung.q - 0.35 * gap))
        air = ramp(lung.p - edge, 0.05) * lung.mask
        line = bump((lung.p - edge) * np.float32(lung.wall - lung.inner), max(0.024, 1.4 * scene.pixel)) * lung.mask
        scene.marks *= 1 - air
        scene.tissue += line * np.float32(0.22) - air * np.float32(0.10)
        total = np.maximum(total, air)
    return _solid(total, 0.5)


def support_devices(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Tubes, lines, leads and generators: thin or square, denser than bone."""
    kinds = ["tube", "line", "leads", "pacemaker"]
    chosen = rng.choice(4, size=1 + int(rng.random() < 0.4 + 0.3 * finding.severity), replace=False)
    total = np.zeros_like(scene.u)
    side = rng.choice([-1.0, 1.0])
    for kind in (kinds[i] for i in chosen):
        u = rng.uniform
        if kind == "tube":
            x, tip = u(-0.04, 0.04), u(-0.42, -0.25)
            if u(0, 1) < 0.5:
                tip = u(0.5, 0.8)  # a feeding tube goes on below the diaphragm
            strokes, width = [curve((x + u(-0.1, 0.1), -1.3), (x, -0.8), (x + u(-0.05, 0.05), tip))], 0.035
        elif kind == "line":
            strokes = [
                curve(
                    (side * u(0.35, 0.8), -1.1), (side * u(0.1, 0.5), -0.7), (-0.1, -0.6), (u(-0.14, -0.06), u(-0.2, 0))
                )
            ]
            width = 0.026
        elif kind == "leads":
            strokes = []
            for sign in (-1, 1):
                x, y = sign * u(0.25, 0.7), u(-0.6, 0.5)
                strokes.append(curve((x, y), (x + u(-0.3, 0.3), y + u(0.1, 0.4)), (sign * u(0.3, 1), 1.3)))
                strokes.append(curve((x - 0.02, y), (x + 0.02, y), steps=2))
            width = 0.024
        else:
            x, y, w = side * u(0.4, 0.6), u(-0.55, -0.4), u(0.08, 0.11)
            box = [(x + dx * 0.01, y + dy) for dx in (-1, 1) for dy in (-w, w)]
            scene_box = ramp(w - np.maximum(np.abs(scene.u - x), np.abs(scene.v - y) * np.float32(1.25)), 0.02)
            total = np.maximum(total, scene_box)
            strokes = [curve(box[0], (side * 0.15, -0.75), (-0.05, -0.3), (u(0.05, 0.3), u(0.2, 0.35)))]
            width = 0.022
        total = np.maximum(total, scene.lines(strokes, width))
    scene.marks += total * np.float32(0.30 + 0.1 * finding.severity)
    return _solid(total, 0.4)


PAINTERS: dict[str, Callable[[Scene, Finding, np.random.Generator], Mask]] = {
    "Consolidation": consolidation,
    "Edema": edema,
    "Atelectasis": atelectasis,
    "Lung Lesion": lung_lesion,
    "Pneumothorax": pneumothorax,
    "Pleural Effusion": pleural_effusion,
    "Support Devices": support_devices,
}
"""Painted in this order. Cardiomegaly is no layer: it is the size at which the heart itself is drawn."""
