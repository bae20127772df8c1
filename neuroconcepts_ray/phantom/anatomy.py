"""The chest without findings, in the projection of each view: lungs, heart, soft tissue, bones and vessels."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from neuroconcepts_ray.phantom.looks import Look
from neuroconcepts_ray.phantom.scene import Lung, Plane, Pose, Scene, bump, lattice, length, ramp


@dataclass(frozen=True)
class Body:
    """One person on one day.

    Args:
        anatomy: The proportions of the person.
        ratio: Width of the heart over that of the chest.
        dense: What the heart adds to the tissue.
        breath: How far the diaphragm has gone down.
        bend: How far the spine swings aside, with its sign, and the phase of the swing; None: it is straight.
    """

    anatomy: dict[str, float]
    ratio: float
    dense: float
    breath: float
    bend: tuple[float, float] | None


def _swing(v: Plane, body: Body, look: Look) -> Plane:
    """How far the spine lies aside at each height."""
    if body.bend is None:
        return np.zeros_like(v)
    far, phase = body.bend
    swing: Plane = np.float32(far) * np.sin(v * np.float32(np.pi * look.spine_bends) + np.float32(phase))
    return swing


def _spine_mask(scene: Scene, off: Plane, at: Plane, width: float) -> None:
    """Where a bent spine lies, or a straight one would."""
    low, high = np.minimum(off, 0) - np.float32(width), np.maximum(off, 0) + np.float32(width)
    scene.masks["Scoliosis"] = (at > low) & (at < high) & (np.abs(off) > 0.012)


def frontal(pose: Pose, view: str, body: Body, look: Look, shape: tuple[int, int]) -> Scene:
    """The chest from the front: the patient's left is the film's right."""
    u, v = pose.grid(*shape)
    anatomy = body.anatomy
    a, left = np.abs(u), u > 0
    wall, apex, base = anatomy["wall"], anatomy["apex"], anatomy["base"] + body.breath
    soft = max(0.03, 2.0 / min(shape))
    # The outer wall: round over the apex, nearly straight towards the base.
    middle = -0.05
    t = np.where(v < middle, (v - middle) / np.float32(apex - middle), (v - middle) * np.float32(0.55))
    outer = np.float32(wall) * np.sqrt(np.clip(1 - t * t * np.sqrt(np.abs(t)), 0, 1))
    inner = np.float32(anatomy["mediastinum"]) + np.float32(0.05) * np.clip(v + np.float32(0.2), 0, 1)
    dome = np.float32(anatomy["bend"]) * np.square(a - np.float32(0.36))
    floor = dome + np.where(left, np.float32(base + anatomy["dome_left"]), np.float32(base + anatomy["dome_right"]))
    half = body.ratio * wall
    tall = 0.30 * anatomy["heart_tall"] * (0.7 + 0.3 * body.ratio / 0.42)
    centre_u, centre_v = anatomy["heart_shift"] + 0.25 * (half - 0.3), base - 0.6 * tall
    du, dv = u - np.float32(centre_u), v - np.float32(centre_v)
    tilt = np.float32(0.35)
    heart = length((du - tilt * -dv * np.float32(0.3)) / np.float32(half), (dv - tilt * du) / np.float32(tall))
    heart_mask = ramp(np.float32(1) - heart, soft / half)
    knob = ramp(np.float32(anatomy["knob"]) - length(u - np.float32(0.11), v + np.float32(0.36)), soft)
    clear = (1 - heart_mask) * (1 - knob)
    lungs = {}
    span = np.maximum(outer - inner, np.float32(0.05))
    for side, sign in (("right", -1.0), ("left", 1.0)):
        here = left if sign > 0 else ~left
        mask = np.where(here, ramp(outer - a, soft) * ramp(a - inner, soft) * ramp(floor - v, soft) * clear, 0)
        low = base + anatomy[f"dome_{side}"]
        bottom = floor + np.float32(0.02)
        q = (v - np.float32(apex)) / (bottom - np.float32(apex))
        lungs[side] = Lung(mask.astype(np.float32), (a - inner) / span, q, sign, 0.14, wall, apex, low + 0.03)
    both = lungs["right"].mask + lungs["left"].mask
    # Soft tissue: shoulders, flanks and neck against the air around them.
    flank = wall + anatomy["flesh"]
    outline = np.where(
        v < -0.75,
        np.float32(0.24) + np.clip((v + np.float32(1.0)) * np.float32(4), 0, 1) * np.float32(flank),
        np.float32(flank + 0.1) + np.float32(0.3) * np.clip(-v - np.float32(0.3), 0, 0.5),
    )
    skin = ramp(outline - a, 0.08)
    off = _swing(v, body, look)
    tissue = skin * (np.float32(0.66) + np.float32(0.10) * np.clip(v, -1, 1)) - both * np.float32(look.lung_dark)
    tissue += skin * bump(u - off, 0.16) * np.float32(0.13)
    tissue -= skin * bump(u, 0.06) * ramp(-v - np.float32(0.2), 0.1) * np.float32(0.08)  # the trachea
    heart_mask *= ramp(floor + np.float32(0.1) - v, 0.1)
    tissue += heart_mask * np.float32(body.dense)
    breast = length((a - np.float32(0.42)) / np.float32(0.34), (v - np.float32(0.20)) / np.float32(0.33))
    tissue += ramp(1 - breast, 0.2) * np.float32(anatomy["breast"])
    bones = _bones(u, v, a, off, outer, anatomy, both, look)
    scene = Scene(u, v, pose, lungs, tissue, bones, heart_mask, view, anatomy, look)
    if body.bend is not None:
        _spine_mask(scene, off, u, 0.12)
    return scene


def _bones(
    u: Plane, v: Plane, a: Plane, off: Plane, outer: Plane, anatomy: dict[str, float], both: Plane, look: Look
) -> Plane:
    gap, weight = np.float32(anatomy["rib_gap"] * look.rib_gap), anatomy["rib_weight"]
    inside = ramp(outer + np.float32(0.05) - a, 0.06) * ramp(a - np.float32(0.06), 0.06)
    # Behind, ribs fall outwards; in front, they fall steeply inwards and are fainter.
    back = (v - np.float32(anatomy["rib_slope"]) * a - np.float32(look.rib_curve) * np.square(a - 0.3)) / gap
    back = back + np.float32(anatomy["rib_phase"])
    front = (v + np.float32(look.rib_curve) * a - np.float32(0.5) * np.square(a)) / (gap * np.float32(1.15))
    rib = bump((back - np.floor(back) - np.float32(0.5)) * gap, look.rib_width)
    faint = bump((front - np.floor(front) - np.float32(0.5)) * gap, 1.1 * look.rib_width)
    faint *= ramp(a - np.float32(0.3), 0.2)
    bones: Plane = inside * (rib * np.float32(weight) + faint * np.float32(weight * 0.6))
    bones *= np.float32(0.4) + np.float32(0.6) * both
    line = v - np.float32(anatomy["clavicle"]) - np.float32(anatomy["clavicle_tilt"]) * a
    collar = bump(line + np.float32(0.12) * np.sin(a * np.float32(5)), 0.055)
    bones += (
        collar * ramp(a - np.float32(0.06), 0.05) * ramp(np.float32(anatomy["shoulder"]) - a, 0.1) * np.float32(0.13)
    )
    disc = v / np.float32(0.11)
    bones += bump(u - off, 0.12) * (
        np.float32(0.05) + np.float32(0.05) * bump(disc - np.floor(disc) - np.float32(0.5), 0.4)
    )
    return bones


def lateral(pose: Pose, body: Body, look: Look, shape: tuple[int, int]) -> Scene:
    """Seen from the side: the spine at the right, the heart in front of and below the one visible lung field."""
    u, v = pose.grid(*shape)
    anatomy = body.anatomy
    soft = max(0.03, 2.0 / min(shape))
    apex, base, deep = anatomy["apex"], anatomy["base"] + body.breath, anatomy["wall"] * 0.80
    t = np.where(v < 0, v / np.float32(apex), v * np.float32(0.6))
    reach = np.float32(deep) * np.sqrt(np.clip(1 - t * t * np.sqrt(np.abs(t)), 0, 1))
    floor = np.float32(base) + np.float32(0.45) * np.square(u + np.float32(0.15)) + np.float32(0.18) * u
    half, tall = body.ratio * 0.78, 0.30 * anatomy["heart_tall"] * (0.7 + 0.3 * body.ratio / 0.42)
    du, dv = u + np.float32(deep * 0.98 - half * 0.72), v - np.float32(base - 0.75 * tall)
    heart = length((du + np.float32(0.3) * dv) / np.float32(half), (dv + np.float32(0.2) * du) / np.float32(tall))
    heart_mask = ramp(1 - heart, soft / half)
    arch = np.abs(length(u - np.float32(0.05), v + np.float32(0.30)) - np.float32(0.18))
    clear = (1 - heart_mask) * (1 - np.float32(0.25) * bump(arch, 0.08))
    mask = ramp(reach - np.abs(u), soft) * ramp(floor - v, soft) * clear
    p = (u + reach) / np.maximum(2 * reach, np.float32(0.1))
    q = (v - np.float32(apex)) / (floor + np.float32(0.02) - np.float32(apex))
    lung = Lung(mask, p, q, 1.0, -deep * 0.9, deep, apex, base)
    skin = ramp(np.float32(deep + anatomy["flesh"]) + np.float32(0.2) * np.clip(-v, 0, 0.5) - np.abs(u), 0.08)
    skin = skin * np.maximum(ramp(v + np.float32(0.95), 0.1), ramp(np.float32(0.3) - np.abs(u), 0.1))
    tissue = skin * (np.float32(0.66) + np.float32(0.10) * np.clip(v, -1, 1))
    tissue -= mask * np.float32(look.lung_dark - 0.02)
    tissue += heart_mask * np.float32(body.dense)
    tissue -= skin * bump(u - np.float32(0.02), 0.05) * ramp(-v - np.float32(0.15), 0.1) * np.float32(0.08)
    off = _swing(v, body, look)
    spine = u - np.float32(deep * 0.85) + np.float32(0.18) * np.square(v)
    disc = (v + np.float32(0.1) * u) / np.float32(0.12)
    bones = bump(spine - off, 0.15) * (
        np.float32(0.09) + np.float32(0.06) * bump(disc - np.floor(disc) - np.float32(0.5), 0.42)
    )
    rib = (v + np.float32(0.35) * u) / np.float32(anatomy["rib_gap"] * look.rib_gap) + np.float32(anatomy["rib_phase"])
    bones += mask * bump(rib - np.floor(rib) - np.float32(0.5), 0.22) * np.float32(anatomy["rib_weight"] * 0.6)
    bones += bump(u + reach, 0.06) * skin * np.float32(0.08)
    scene = Scene(u, v, pose, {"right": lung, "left": lung}, tissue, bones, heart_mask, "LATERAL", anatomy, look)
    if body.bend is not None:
        _spine_mask(scene, off, spine, 0.12)
    return scene


def vessels(scene: Scene, rng: np.random.Generator) -> None:
    """Vessels that leave the hila and branch: they belong to the lung, so air and fluid can take them away."""
    view_is_lateral, look = scene.view == "LATERAL", scene.look
    sign = np.repeat([-1.0, 1.0], 8)
    root = np.stack([sign * (0.04 if view_is_lateral else 0.16), np.full(16, -0.06)], axis=1)
    # From nearly straight up, over outwards, to nearly straight down.
    angle = np.tile(np.linspace(-1.25, 1.35, 8), 2) + rng.uniform(-0.14, 0.14, 16)
    trunks = _branches(root, angle, sign, rng.uniform(0.34, 0.60, 16), rng)
    fork = rng.choice([-1.0, 1.0], 48) * look.vessel_fork + rng.uniform(-0.2, 0.2, 48)
    twigs = _branches(
        trunks[:, 2:5].reshape(48, 2), np.repeat(angle, 3) + fork, np.repeat(sign, 3), rng.uniform(0.14, 0.30, 48), rng
    )
    lungs = scene.lungs["left"].mask
    if not view_is_lateral:
        lungs = lungs + scene.lungs["right"].mask
    width = look.vessel_width
    tree = scene.lines(trunks, 0.020 * width) + np.float32(0.7) * scene.lines(twigs, 0.013 * width)
    mottle = np.float32(0.12) * lattice(rng, scene.u.shape, look.mottle)
    scene.marks += lungs * (tree + mottle) * np.float32(scene.anatomy["vessel"])


def _branches(
    root: Float[np.ndarray, "n 2"],
    angle: Float[np.ndarray, " n"],
    sign: Float[np.ndarray, " n"],
    reach: Float[np.ndarray, " n"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "n 6 2"]:
    """Quadratic Bézier curves from ``root`` outwards, each slightly bent."""

    def step(far: Float[np.ndarray, " n"], way: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 1 2"]:
        offset = np.stack([sign * far * np.cos(way), far * np.sin(way)], axis=1)
        end: Float[np.ndarray, "n 1 2"] = (root + offset)[:, None, :]
        return end

    middle = step(reach / 2, angle + rng.uniform(-0.35, 0.35, len(angle)))
    t = np.linspace(0, 1, 6)[None, :, None]
    out: Float[np.ndarray, "n 6 2"] = (
        (1 - t) ** 2 * root[:, None] + 2 * t * (1 - t) * middle + t**2 * step(reach, angle)
    )
    return out
