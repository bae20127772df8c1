"""One film: anatomy in the view's projection, findings on it, then exposure and noise."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import Film, Finding, Patient, Study, generator
from neuroconcepts_ray.phantom.findings import PAINTERS
from neuroconcepts_ray.phantom.scene import Lung, Plane, Pose, Scene, bump, lattice, length, ramp

_GLYPHS = {"R": ("11110", "10001", "10001", "11110", "10100", "10010", "10001"),
           "L": ("10000", "10000", "10000", "10000", "10000", "10000", "11111")}  # fmt: skip


def _pose(rng: np.random.Generator, view: str) -> Pose:
    size = rng.uniform(0.82, 1.06) * (1.03 if view == "AP" else 1.0)
    return Pose(size, rng.uniform(-0.10, 0.10), rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12))


def _heart_size(anatomy: dict[str, float], findings: tuple[Finding, ...], view: str) -> float:
    """Cardiothoracic ratio: normal below .5, enlarged well above; an AP film enlarges a little."""
    enlarged = next((f for f in findings if f.name == "Cardiomegaly"), None)
    ratio = anatomy["heart"] + (0.01 if view == "AP" else 0.0)
    return ratio if enlarged is None else ratio + 0.13 + 0.10 * enlarged.severity


def _frontal(
    pose: Pose, view: str, anatomy: dict[str, float], heart_size: float, breath: float, shape: tuple[int, int]
) -> Scene:
    u, v = pose.grid(*shape)
    a, left = np.abs(u), u > 0
    wall, apex, base = anatomy["wall"], anatomy["apex"], anatomy["base"] + breath
    soft = max(0.03, 2.0 / min(shape))
    # The outer wall: round over the apex, nearly straight towards the base.
    middle = -0.05
    t = np.where(v < middle, (v - middle) / np.float32(apex - middle), (v - middle) * np.float32(0.55))
    outer = np.float32(wall) * np.sqrt(np.clip(1 - t * t * np.sqrt(np.abs(t)), 0, 1))
    inner = np.float32(anatomy["mediastinum"]) + np.float32(0.05) * np.clip(v + np.float32(0.2), 0, 1)
    dome = np.float32(anatomy["bend"]) * np.square(a - np.float32(0.36))
    floor = dome + np.where(left, np.float32(base + anatomy["dome_left"]), np.float32(base + anatomy["dome_right"]))
    half = heart_size * wall
    tall = 0.30 * anatomy["heart_tall"] * (0.7 + 0.3 * heart_size / 0.42)
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
    body = ramp(outline - a, 0.08)
    tissue = body * (np.float32(0.66) + np.float32(0.10) * np.clip(v, -1, 1)) - both * np.float32(0.40)
    tissue += body * bump(u, 0.16) * np.float32(0.10)
    tissue -= body * bump(u, 0.06) * ramp(-v - np.float32(0.2), 0.1) * np.float32(0.08)  # the trachea
    tissue += heart_mask * ramp(floor + np.float32(0.1) - v, 0.1) * np.float32(0.06)
    breast = length((a - np.float32(0.42)) / np.float32(0.34), (v - np.float32(0.20)) / np.float32(0.33))
    tissue += ramp(1 - breast, 0.2) * np.float32(anatomy["breast"])
    bones = _bones(u, v, a, outer, anatomy, both)
    return Scene(u, v, pose, lungs, tissue, bones, heart_mask * ramp(floor - v, soft), view, anatomy)


def _bones(u: Plane, v: Plane, a: Plane, outer: Plane, anatomy: dict[str, float], both: Plane) -> Plane:
    gap, weight = np.float32(anatomy["rib_gap"]), anatomy["rib_weight"]
    inside = ramp(outer + np.float32(0.05) - a, 0.06) * ramp(a - np.float32(0.06), 0.06)
    # Behind, ribs fall outwards; in front, they fall steeply inwards and are fainter.
    back = (v - np.float32(anatomy["rib_slope"]) * a - np.float32(0.55) * np.square(a - 0.3)) / gap
    back = back + np.float32(anatomy["rib_phase"])
    front = (v + np.float32(0.55) * a - np.float32(0.5) * np.square(a)) / (gap * np.float32(1.15))
    rib = bump((back - np.floor(back) - np.float32(0.5)) * gap, 0.05)
    faint = bump((front - np.floor(front) - np.float32(0.5)) * gap, 0.055) * ramp(a - np.float32(0.3), 0.2)
    bones: Plane = inside * (rib * np.float32(weight) + faint * np.float32(weight * 0.6))
    bones *= np.float32(0.4) + np.float32(0.6) * both
    line = v - np.float32(anatomy["clavicle"]) - np.float32(anatomy["clavicle_tilt"]) * a
    collar = bump(line + np.float32(0.12) * np.sin(a * np.float32(5)), 0.055)
    bones += (
        collar * ramp(a - np.float32(0.06), 0.05) * ramp(np.float32(anatomy["shoulder"]) - a, 0.1) * np.float32(0.13)
    )
    disc = v / np.float32(0.11)
    bones += bump(u, 0.12) * (np.float32(0.05) + np.float32(0.05) * bump(disc - np.floor(disc) - np.float32(0.5), 0.4))
    return bones


def _lateral(pose: Pose, anatomy: dict[str, float], heart_size: float, breath: float, shape: tuple[int, int]) -> Scene:
    """Seen from the side: the spine at the right, the heart in front of and below the one visible lung field."""
    u, v = pose.grid(*shape)
    soft = max(0.03, 2.0 / min(shape))
    apex, base, deep = anatomy["apex"], anatomy["base"] + breath, anatomy["wall"] * 0.80
    t = np.where(v < 0, v / np.float32(apex), v * np.float32(0.6))
    reach = np.float32(deep) * np.sqrt(np.clip(1 - t * t * np.sqrt(np.abs(t)), 0, 1))
    floor = np.float32(base) + np.float32(0.45) * np.square(u + np.float32(0.15)) + np.float32(0.18) * u
    half, tall = heart_size * 0.78, 0.30 * anatomy["heart_tall"] * (0.7 + 0.3 * heart_size / 0.42)
    du, dv = u + np.float32(deep * 0.98 - half * 0.72), v - np.float32(base - 0.75 * tall)
    heart = length((du + np.float32(0.3) * dv) / np.float32(half), (dv + np.float32(0.2) * du) / np.float32(tall))
    heart_mask = ramp(1 - heart, soft / half)
    arch = np.abs(length(u - np.float32(0.05), v + np.float32(0.30)) - np.float32(0.18))
    clear = (1 - heart_mask) * (1 - np.float32(0.25) * bump(arch, 0.08))
    mask = ramp(reach - np.abs(u), soft) * ramp(floor - v, soft) * clear
    p = (u + reach) / np.maximum(2 * reach, np.float32(0.1))
    q = (v - np.float32(apex)) / (floor + np.float32(0.02) - np.float32(apex))
    lung = Lung(mask, p, q, 1.0, -deep * 0.9, deep, apex, base)
    body = ramp(np.float32(deep + anatomy["flesh"]) + np.float32(0.2) * np.clip(-v, 0, 0.5) - np.abs(u), 0.08)
    body = body * np.maximum(ramp(v + np.float32(0.95), 0.1), ramp(np.float32(0.3) - np.abs(u), 0.1))
    tissue = body * (np.float32(0.66) + np.float32(0.10) * np.clip(v, -1, 1)) - mask * np.float32(0.38)
    tissue += heart_mask * np.float32(0.05)
    tissue -= body * bump(u - np.float32(0.02), 0.05) * ramp(-v - np.float32(0.15), 0.1) * np.float32(0.08)
    spine = u - np.float32(deep * 0.85) + np.float32(0.18) * np.square(v)
    disc = (v + np.float32(0.1) * u) / np.float32(0.12)
    bones = bump(spine, 0.15) * (
        np.float32(0.09) + np.float32(0.06) * bump(disc - np.floor(disc) - np.float32(0.5), 0.42)
    )
    rib = (v + np.float32(0.35) * u) / np.float32(anatomy["rib_gap"]) + np.float32(anatomy["rib_phase"])
    bones += mask * bump(rib - np.floor(rib) - np.float32(0.5), 0.22) * np.float32(anatomy["rib_weight"] * 0.6)
    bones += bump(u + reach, 0.06) * body * np.float32(0.08)
    return Scene(u, v, pose, {"right": lung, "left": lung}, tissue, bones, heart_mask, "LATERAL", anatomy)


def _vessels(scene: Scene, rng: np.random.Generator) -> None:
    """Vessels that leave the hila and branch: they belong to the lung, so air and fluid can take them away."""
    lateral = scene.view == "LATERAL"
    sign = np.repeat([-1.0, 1.0], 8)
    root = np.stack([sign * (0.04 if lateral else 0.16), np.full(16, -0.06)], axis=1)
    # From nearly straight up, over outwards, to nearly straight down.
    angle = np.tile(np.linspace(-1.25, 1.35, 8), 2) + rng.uniform(-0.14, 0.14, 16)
    trunks = _branches(root, angle, sign, rng.uniform(0.34, 0.60, 16), rng)
    fork = rng.choice([-0.6, 0.6], 48) + rng.uniform(-0.2, 0.2, 48)
    twigs = _branches(
        trunks[:, 2:5].reshape(48, 2), np.repeat(angle, 3) + fork, np.repeat(sign, 3), rng.uniform(0.14, 0.30, 48), rng
    )
    lungs = scene.lungs["left"].mask
    if not lateral:
        lungs = lungs + scene.lungs["right"].mask
    tree = scene.lines(trunks, 0.020) + np.float32(0.7) * scene.lines(twigs, 0.013)
    mottle = np.float32(0.12) * lattice(rng, scene.u.shape, 0.16)
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


def _expose(scene: Scene, rng: np.random.Generator) -> UInt8[np.ndarray, "h w"]:
    """Window, curve, uneven field, border, side mark and noise: none of it tells what is in the chest."""
    picture = scene.tissue + scene.marks
    picture += np.float32(rng.uniform(0.01, 0.03)) * lattice(rng, scene.u.shape, 0.9)
    slope = rng.uniform(-0.08, 0.08, 2)
    picture += np.float32(slope[0]) * scene.u + np.float32(slope[1]) * scene.v
    low, high = rng.uniform(0.0, 0.14), rng.uniform(0.86, 1.10)
    picture = np.clip((picture - np.float32(low)) * np.float32(1 / (high - low)), 0, 1.2)
    picture = picture ** np.float32(rng.uniform(0.75, 1.35)) * np.float32(rng.uniform(0.80, 0.98))
    picture += np.float32(rng.uniform(0.006, 0.022)) * rng.standard_normal(picture.shape, dtype=np.float32)
    height, width = picture.shape
    half = min(height, width) / 2
    if rng.random() < 0.8:
        _mark(picture, rng, half)
    border = rng.uniform(-0.06, 0.06, 4)
    for axis, (start, stop) in enumerate(((border[0], border[1]), (border[2], border[3]))):
        first, last = max(0, int(start * half)), max(0, int(stop * half))
        view = picture if axis == 0 else picture.T
        view[:first] = 0.02
        if last:
            view[-last:] = 0.02
    levels: UInt8[np.ndarray, "h w"] = np.clip(picture * np.float32(255) + 0.5, 0, 255).astype(np.uint8)
    return levels


def _mark(picture: Plane, rng: np.random.Generator, half: float) -> None:
    """The technologist's R or L in an upper corner; the patient's right is the film's left."""
    letter = "LR"[int(rng.integers(2))]
    dot = max(1, int(half * rng.uniform(0.014, 0.024)))
    glyph = np.array([[int(c) for c in row] for row in _GLYPHS[letter]], np.float32).repeat(dot, 0).repeat(dot, 1)
    top, edge = int(half * rng.uniform(0.08, 0.3)), int(half * rng.uniform(0.08, 0.2))
    start = edge if letter == "R" else picture.shape[1] - edge - glyph.shape[1]
    spot = picture[top : top + glyph.shape[0], max(0, start) : max(0, start) + glyph.shape[1]]
    np.maximum(spot, glyph[: spot.shape[0], : spot.shape[1]] * np.float32(0.95), out=spot)


def render(
    config: PhantomConfig, patient: Patient, study: Study, film: Film
) -> tuple[UInt8[np.ndarray, "h w"], dict[str, Bool[np.ndarray, "h w"]]]:
    """Draw one film.

    Returns:
        The grey image, and for each finding that is there the mask of the pixels it occupies.
    """
    rng = generator(config, "film", *film.key)
    pose = _pose(rng, film.view)
    breath = rng.uniform(-0.09, 0.08)
    shape = (config.height, config.width)
    size = _heart_size(patient.anatomy, study.findings, film.view)
    if film.view == "LATERAL":
        scene = _lateral(pose, patient.anatomy, size, breath, shape)
    else:
        scene = _frontal(pose, film.view, patient.anatomy, size, breath, shape)
    _vessels(scene, np.random.default_rng([int(patient.anatomy["key"]), film.view == "LATERAL"]))
    present = {finding.name: finding for finding in study.findings}
    masks = {}
    if "Cardiomegaly" in present:
        masks["Cardiomegaly"] = scene.heart > 0.5
    for name, paint in PAINTERS.items():
        if name in present:
            masks[name] = paint(scene, present[name], np.random.default_rng(present[name].key))
    return _expose(scene, rng), masks
