"""Tubes, lines, leads and generators: thin or square, denser than bone."""

import numpy as np
from jaxtyping import Bool

from neuroconcepts_ray.phantom.draw import Finding
from neuroconcepts_ray.phantom.scene import Plane, Scene, Stroke, curve, ramp
from neuroconcepts_ray.phantom.world import DEVICES

Mask = Bool[np.ndarray, "h w"]


def _tube(scene: Scene, rng: np.random.Generator) -> Plane:
    u = rng.uniform
    x, tip = u(-0.04, 0.04), u(-0.42, -0.25)
    if u(0, 1) < 0.5:
        tip = u(0.5, 0.8)  # a feeding tube goes on below the diaphragm
    way = curve((x + u(-0.1, 0.1), -1.3), (x, -0.8), (x + u(-0.05, 0.05), tip))
    return scene.lines([way], 0.035 * scene.look.device_width)


def _line(scene: Scene, rng: np.random.Generator) -> Plane:
    u, side = rng.uniform, rng.choice([-1.0, 1.0])
    way = curve((side * u(0.35, 0.8), -1.1), (side * u(0.1, 0.5), -0.7), (-0.1, -0.6), (u(-0.14, -0.06), u(-0.2, 0)))
    return scene.lines([way], 0.026 * scene.look.device_width)


def _leads(scene: Scene, rng: np.random.Generator) -> Plane:
    u = rng.uniform
    strokes: list[Stroke] = []
    dots: list[Stroke] = []
    for sign in (-1, 1):
        x, y = sign * u(0.25, 0.7), u(-0.6, 0.5)
        strokes.append(curve((x, y), (x + u(-0.3, 0.3), y + u(0.1, 0.4)), (sign * u(0.3, 1), 1.3)))
        dots.append([(x - 0.025, y), (x + 0.025, y)])
    thin = scene.lines(strokes, 0.024 * scene.look.device_width)
    both: Plane = np.maximum(thin, scene.lines(dots, 0.05 * scene.look.device_width))
    return both


def _pacemaker(scene: Scene, rng: np.random.Generator) -> Plane:
    u, side, look = rng.uniform, rng.choice([-1.0, 1.0]), scene.look
    x, y, w = side * u(0.4, 0.6), u(-0.55, -0.4), u(0.08, 0.11)
    # A superellipse: from a disc to a square with round corners.
    across, down = np.abs(scene.u - np.float32(x)), np.abs(scene.v - np.float32(y)) * np.float32(1 / look.case_tall)
    power = np.float32(look.case_corner)
    rim = (across**power + down**power) ** (1 / power)
    way = curve((x + 0.01, y + w * look.case_tall), (side * 0.15, -0.75), (-0.05, -0.3), (u(0.05, 0.3), u(0.2, 0.35)))
    both: Plane = np.maximum(ramp(w - rim, 0.02), scene.lines([way], 0.022 * look.device_width))
    return both


_PAINTERS = {"tube": _tube, "line": _line, "leads": _leads, "pacemaker": _pacemaker}


def support_devices(scene: Scene, finding: Finding, rng: np.random.Generator) -> Mask:
    """Paint the devices that the finding names; each has a generator of its own, and a mask under its own name."""
    del rng
    total = np.zeros_like(scene.u)
    for device in finding.devices:
        drawn = _PAINTERS[device](scene, np.random.default_rng([finding.key, 1 + DEVICES.index(device)]))
        scene.masks[device] = drawn > 0.3
        total = np.maximum(total, drawn)
    scene.marks += total * np.float32(0.30 + 0.1 * finding.severity)
    mask: Mask = total > 0.3
    return mask
