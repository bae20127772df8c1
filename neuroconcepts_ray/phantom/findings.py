"""How each finding looks: local, at varying places, by shape and texture more than by brightness.

A painter changes the scene and returns the mask of what it changed: size is how far it reaches, severity how dense it
is. It draws from a generator of its own, so that no finding moves another.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from neuroconcepts_ray.phantom.devices import support_devices
from neuroconcepts_ray.phantom.draw import Finding
from neuroconcepts_ray.phantom.scene import Lung, Plane, Scene, Stroke, bump, lattice, length, ramp, ridges
from neuroconcepts_ray.phantom.truth import SPICULATED

Mask = Bool[np.ndarray, "h w"]
_ZONE = {"upper": (0.22, 0.42), "mid": (0.42, 0.65), "lower": (0.65, 0.85)}
_FAINT = 0.003
"""What a fracture takes from its rib: under one grey level, where the noise has 1.5 to 5.6."""


def _solid(soft: Plane, least: float = 0.2) -> Mask:
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
    (lung,), look = _lungs(scene, finding), scene.look
    centre = lung.at(rng.uniform(0.3, 0.75), rng.uniform(*_ZONE[finding.zone]))
    rim = _blob(scene, centre, 0.21 + 0.10 * finding.size, rng.uniform(0.8, 1.4), rng.uniform(0, np.pi))
    rim += np.float32(look.patch_ragged) * lattice(rng, scene.u.shape, look.patch_rim)
    patch = ramp(1 - rim, 0.5) * lung.mask
    bronchi = ridges(lattice(rng, scene.u.shape, look.bronchi), 0.45)
    clouds = lattice(rng, scene.u.shape, look.patch_clouds)
    dense = 0.23 + 0.07 * finding.severity
    scene.tissue += patch * (dense + 0.06 * clouds - np.float32(look.bronchi_dark) * bronchi)
    return _solid(patch)


def atelectasis(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Plate-like bands: short, straight, bright, near the base."""
    strokes: list[Stroke] = []
    look = scene.look
    for lung in _lungs(scene, finding):
        for _ in range(1 + int(rng.integers(int(look.bands)))):
            u, v = lung.at(rng.uniform(0.35, 0.65), rng.uniform(*_ZONE[finding.zone]))
            tilt, reach = rng.uniform(-look.band_tilt, look.band_tilt), 0.17 + 0.08 * finding.size
            du, dv = reach * np.cos(tilt), reach * np.sin(tilt)
            strokes.append([(u - du, v - dv), (u + du, v + dv)])
    inside = sum((lung.mask for lung in _lungs(scene, finding)), np.zeros_like(scene.u))
    band = scene.lines(strokes, look.band_width + 0.015 * finding.size) * inside
    scene.tissue += band * np.float32(0.30 + 0.10 * finding.severity)
    return _solid(band)


def edema(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """A fine net over both lungs, densest at the hila; as much darker between its lines as brighter on them."""
    look = scene.look
    net = ridges(lattice(rng, scene.u.shape, look.net_cell), look.net_width)
    net += ridges(lattice(rng, scene.u.shape, look.net_cell * look.net_second), 0.9 * look.net_width)
    mask = np.zeros_like(scene.u)
    reach = np.float32(1.05 + 0.2 * finding.size)
    for lung in scene.lungs.values():
        weight = np.clip(reach - np.abs(lung.p - 0.2), 0, 1) * np.clip(reach + 0.15 - 1.3 * np.abs(lung.q - 0.55), 0, 1)
        mask = np.maximum(mask, weight * lung.mask)
    scene.tissue += mask * np.float32(0.09 + 0.10 * finding.severity) * (net - net.mean())
    return _solid(mask)


def lung_lesion(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """A few round nodules: smooth ones with a sharp rim, spiculated ones with a star of fine strands."""
    (lung,), look = _lungs(scene, finding), scene.look
    low, high = _ZONE[finding.zone]
    mask = np.zeros_like(scene.u)
    strokes: list[Stroke] = []
    # The strands have a generator of their own: with them or without, the nodules are the same.
    own = np.random.default_rng([finding.key, 1])
    for _ in range(1 + int(rng.integers(int(look.nodules)))):
        centre = lung.at(rng.uniform(0.25, 0.8), rng.uniform(low, high))
        radius = (0.088 + 0.047 * finding.size) * rng.uniform(0.85, 1.15)
        rim = _blob(scene, centre, radius, rng.uniform(0.9, look.nodule_stretch), rng.uniform(0, np.pi))
        mask = np.maximum(mask, ramp(1 - rim, 0.35))
        count = int(look.spicules)
        turns = own.uniform(0, 2 * np.pi) + 2 * np.pi * (np.arange(count) + own.uniform(-0.25, 0.25, count)) / count
        for turn, far in zip(turns.tolist(), own.uniform(0.7, 1.2, count).tolist(), strict=True):
            reach = radius + 0.095 * look.spicule_reach * far
            way = np.array([np.cos(turn), np.sin(turn)])
            strokes.append([tuple((way * step + centre).tolist()) for step in (0.7 * radius, reach)])
    inside = np.clip(lung.mask + 0.45, 0, 1)
    dense = np.float32(0.38 + 0.10 * finding.severity)
    if finding.margin == "spiculated":
        strands = scene.lines(strokes, max(0.024, 1.1 * scene.pixel))
        scene.masks[SPICULATED] = _solid(strands)
        mask = np.maximum(mask, np.float32(0.85) * strands)
    scene.tissue += mask * dense * inside
    return _solid(mask)


def pleural_effusion(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Fluid that blunts the costophrenic angle: its edge is hollow and climbs the wall, where a diaphragm is domed."""
    total = np.zeros_like(scene.u)
    look = scene.look
    for lung in _lungs(scene, finding):
        level = 0.99 - (0.03 + 0.22 * finding.size * rng.uniform(0.8, 1.2))
        climb = look.fluid_climb * rng.uniform(0.85, 1.15)
        edge = level - np.float32(climb) * np.clip(lung.p, 0, 1) ** np.float32(look.fluid_power)
        fluid = ramp(lung.q - edge, 0.05) * lung.mask
        # What is covered loses its vessels and takes the density of the belly below.
        scene.marks *= 1 - fluid
        scene.tissue += fluid * np.float32(0.26 + 0.08 * finding.severity)
        total = np.maximum(total, fluid)
    return _solid(total)


def pneumothorax(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Air between lung and wall: no vessels, a shade darker, bounded by the thin bright pleural line."""
    total = np.zeros_like(scene.u)
    look = scene.look
    for lung in _lungs(scene, finding):
        gap = 0.17 + 0.20 * finding.size
        apical = rng.uniform(0.5, 1.0)
        edge = 1 - gap * (1 - apical * np.clip(lung.q, 0, 1)) - look.air_wave * lattice(rng, scene.u.shape, 0.4)
        # The cap over the apex, so that the line closes.
        edge = np.minimum(edge, 3.2 * (lung.q - 0.35 * gap))
        air = ramp(lung.p - edge, 0.05) * lung.mask
        width = max(look.air_line, 1.4 * scene.pixel)
        line = bump((lung.p - edge) * np.float32(lung.wall - lung.inner), width) * lung.mask
        scene.marks *= 1 - air
        scene.tissue += line * np.float32(0.22) - air * np.float32(0.07 + 0.06 * finding.severity)
        total = np.maximum(total, np.maximum(air, line))
    return _solid(total)


def pleural_other(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Plaques: the pleura is thick along a stretch of the wall, lumpy, and chalky."""
    (lung,), look = _lungs(scene, finding), scene.look
    middle, reach = rng.uniform(*_ZONE[finding.zone]), 0.27 + 0.13 * finding.size
    thick = np.float32(0.115 + 0.055 * finding.size)
    lumps = 1 + np.float32(look.plaque_ragged) * lattice(rng, scene.u.shape, look.plaque_lump)
    depth = (lung.p - 1) * np.float32(lung.wall - lung.inner)
    stretch = np.sqrt(bump(lung.q - np.float32(middle), reach))
    plaque = ramp(depth + thick * stretch * lumps, 0.03) * lung.mask * np.minimum(1, 4 * stretch)
    # Chalk in it: brighter than the wall, in crumbs.
    crumbs = ridges(lattice(rng, scene.u.shape, look.plaque_chalk), 0.6)
    scene.tissue += plaque * (np.float32(0.24 + 0.10 * finding.severity) + np.float32(0.28) * crumbs)
    return _solid(plaque)


def enlarged_cardiomediastinum(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """The upper mediastinum is wide: it bulges into one lung or both, above the heart."""
    look = scene.look
    middle, wide = rng.uniform(-0.48, -0.30), 0.10 + 0.07 * finding.size
    # On one side it is always plain.
    left, right = rng.permutation([rng.uniform(0.8, 1.15), rng.uniform(0.3, 1.0)])
    phase = np.float32(rng.uniform(0, 2 * np.pi))
    swell = np.sqrt(bump(scene.v - np.float32(middle), look.bulge_tall))
    wave = np.float32(look.bulge_wave) * np.sin(scene.v * np.float32(14) + phase)
    if scene.view == "LATERAL":
        # In front of the arch, where the lung is clear.
        lung = scene.lungs["left"].mask
        bulge = ramp((wide + 0.10) * swell + wave - np.abs(scene.u + np.float32(0.22)), 0.04) * lung
    else:
        lung = scene.lungs["left"].mask + scene.lungs["right"].mask
        share = np.where(scene.u > 0, np.float32(left), np.float32(right))
        edge = (np.float32(scene.anatomy["mediastinum"]) + np.float32(wide) * share) * swell + wave * swell
        bulge = ramp(edge - np.abs(scene.u), 0.035) * lung
    scene.marks *= 1 - np.float32(0.7) * bulge
    scene.tissue += bulge * np.float32(0.26 + 0.08 * finding.severity)
    return _solid(bulge)


def fracture(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """A step in a rib, fainter than the noise: it is there, and nobody can see it."""
    (lung,) = _lungs(scene, finding)
    u, v = lung.at(rng.uniform(0.5, 0.85), rng.uniform(*_ZONE[finding.zone]))
    reach, tilt = 0.025 + 0.02 * finding.size, rng.uniform(1.2, 1.9)
    du, dv = reach * np.cos(tilt), reach * np.sin(tilt)
    gap = scene.lines([[(u - du, v - dv), (u + du, v + dv)]], max(0.02, 1.2 * scene.pixel))
    scene.marks -= gap * np.float32(_FAINT * (0.6 + 0.4 * finding.severity))
    return _solid(gap)


PAINTERS: dict[str, Callable[[Scene, Finding, np.random.Generator], Mask]] = {
    "Consolidation": consolidation,
    "Edema": edema,
    "Atelectasis": atelectasis,
    "Lung Lesion": lung_lesion,
    "Pleural Other": pleural_other,
    "Pneumothorax": pneumothorax,
    "Pleural Effusion": pleural_effusion,
    "Enlarged Cardiomediastinum": enlarged_cardiomediastinum,
    "Fracture": fracture,
    "Support Devices": support_devices,
}
"""Painted in this order. Cardiomegaly is no layer: it is the size at which the heart itself is drawn."""
