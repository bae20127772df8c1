"""What no report tells of, and the drain: painted like findings, but from a generator and no draw of their own."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool

from neuroconcepts_ray.phantom.scene import Scene, bump, curve, length, ramp

Mask = Bool[np.ndarray, "h w"]


def aortic_calcification(scene: Scene, rng: np.random.Generator) -> Mask:
    """A bright arc in the wall of the aortic knob, and its tail down the aorta; from the side, of the arch."""
    if scene.view == "LATERAL":
        centre, radius, middle = (0.05, -0.30), 0.18, -0.5 * np.pi
    else:
        centre, radius, middle = (0.11, -0.36), 1.05 * scene.anatomy["knob"] + 0.02, -0.15 * np.pi
    middle += rng.uniform(-0.5, 0.5)
    half = scene.look.calcium_arc / 2 * rng.uniform(0.8, 1.2)
    angle = np.linspace(middle - half, middle + half, 16)
    arc = [(centre[0] + radius * float(np.cos(t)), centre[1] + radius * float(np.sin(t))) for t in angle]
    turn = -1.0 if scene.view == "LATERAL" else 1.0
    edge, far = centre[0] + radius, rng.uniform(0.25, 0.45)
    tail = curve((edge, centre[1] + 0.02), (edge + 0.03 * turn, centre[1] + far / 2), (edge - 0.04, centre[1] + far))
    drawn = scene.lines([arc, tail], scene.look.calcium_width)
    scene.marks += drawn * np.float32(rng.uniform(0.30, 0.40))
    mask: Mask = drawn > 0.15
    return mask


def hiatal_hernia(scene: Scene, rng: np.random.Generator) -> Mask:
    """A round shadow behind the heart: a wall, air above a straight level, fluid below it."""
    radius, stretch = rng.uniform(0.16, 0.21), scene.look.hernia_stretch
    low = scene.lungs["left"].base - rng.uniform(0.06, 0.16)
    at = rng.uniform(0.12, 0.22) if scene.view == "LATERAL" else rng.uniform(-0.06, 0.16)
    level = low + radius * rng.uniform(-0.35, 0.15)
    du, dv = scene.u - np.float32(at), scene.v - np.float32(low)
    rim = length(du * np.float32(1 / (radius * stretch)), dv * np.float32(1 / radius))
    inside = ramp(1 - rim, 0.15)
    fluid = ramp(scene.v - np.float32(level), 0.02)
    scene.tissue += inside * (np.float32(0.26) * fluid - np.float32(0.16)) + np.float32(0.18) * bump(rim - 0.95, 0.2)
    mask: Mask = rim < 1.1
    return mask


def drain(scene: Scene, rng: np.random.Generator) -> Mask:
    """A thin tube in the chest wall, from below up along the ribs."""
    side = rng.choice([-1.0, 1.0])
    wall = scene.anatomy["wall"] * (0.8 if scene.view == "LATERAL" else 1.0)
    start, top, turn = rng.uniform(0.55, 0.85), rng.uniform(-0.35, 0.0), scene.look.drain_turn
    way = curve(
        (side * (wall + 0.25), start + 0.3),
        (side * (wall + 0.06), start - 0.2),
        (side * (wall + 0.10 + 0.3 * turn), 0.3),
        (side * (wall + 0.02), top),
    )
    drawn = scene.lines([way], scene.look.drain_width)
    scene.marks += drawn * np.float32(0.26)
    mask: Mask = drawn > 0.3
    return mask


PAINTERS: dict[str, Callable[[Scene, np.random.Generator], Mask]] = {
    "Hiatal Hernia": hiatal_hernia,
    "Aortic Calcification": aortic_calcification,
}
"""What lasts with the patient. Scoliosis is no layer: it is the way of the spine itself."""
