"""Pictures of skin lesions: pigment and blood on skin of some tone, structures, light, and what lies on the glass."""

import math

import numpy as np
from jaxtyping import Bool, Float, UInt8

from neuroconcepts_ray.phantom.canvas import discs, draw_waves, noise_at, strokes, wavy
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.lesions import RULER, Lesion, Picture, skin_world
from neuroconcepts_ray.phantom.scene import Plane, Pose, Stroke, curve, length, ramp

Colour = Float[np.ndarray, "h w 3"]
Masks = dict[str, Bool[np.ndarray, "h w"]]

_TONES = {"light": (0.92, 0.74, 0.66), "medium": (0.82, 0.61, 0.49), "dark": (0.56, 0.39, 0.30)}
# How much of red, green and blue melanin and blood take away, in nepers per unit.
_MELANIN, _BLOOD = (0.75, 1.25, 1.6), (0.12, 0.95, 0.8)
# Diagnosis → melanin, its unevenness, blood, width of the rim as a share of the radius.
_LOOKS = {
    "nv": (0.75, 0.10, 0.08, 0.30),
    "mel": (1.10, 0.35, 0.12, 0.22),
    "bkl": (0.60, 0.15, 0.06, 0.08),
    "bcc": (0.20, 0.10, 0.26, 0.35),
    "akiec": (0.22, 0.12, 0.34, 0.60),
    "df": (0.40, 0.08, 0.16, 0.45),
    "vasc": (0.08, 0.05, 0.75, 0.12),
}


class _Skin:
    """The picture as it grows: two pigments, then paint over them."""

    def __init__(self, config: PhantomConfig, lesion: Lesion, rng: np.random.Generator) -> None:
        looks = np.random.default_rng(skin_world(config.seed).looks)
        self.lesion, self.shape = lesion, (config.height, config.width)
        self.own = np.random.default_rng(lesion.key)
        self.pose = Pose(
            rng.uniform(0.85, 1.2), rng.uniform(0, 2 * math.pi), rng.uniform(-0.2, 0.2), rng.uniform(-0.12, 0.12)
        )
        self.u, self.v = self.pose.grid(*self.shape)
        self.radius = 0.26 + 0.36 * lesion.size
        self.cell = float(looks.uniform(0.085, 0.11))
        self.hue = looks.uniform(0.92, 1.08, 3)
        self.paint: list[tuple[Plane, tuple[float, float, float]]] = []
        self.masks: Masks = {}
        self._outline()

    def _outline(self) -> None:
        lesion, own = self.lesion, self.own
        base, uneven, blood, rim = _LOOKS[lesion.diagnosis]
        waves = draw_waves(own, 2, 4, 0.05)
        uneasy, jagged = draw_waves(own, 1, 1, 0.30), draw_waves(own, 5, 11, 0.055)
        tall = np.float32(own.uniform(0.75, 1.0))
        u, v = self.u, self.v / tall
        theta = np.arctan2(v, u)
        ways = waves + uneasy * ("asymmetry" in lesion.structures) + jagged * ("jagged border" in lesion.structures)
        inner = wavy(theta, ways) - length(u, v) / np.float32(self.radius)
        self.depth = inner
        self.body = ramp(inner, rim)
        patchy = noise_at(lesion.key + 1, u, v, 0.45 * self.radius)
        slope = np.zeros_like(u)
        if "asymmetry" in lesion.structures:
            turn = own.uniform(0, 2 * math.pi)
            slope = (np.float32(np.cos(turn)) * u + np.float32(np.sin(turn)) * v) / np.float32(self.radius)
        # Colours of the diagnoses overlap: no single one tells.
        base, blood = (
            base * own.uniform(0.45, 1.3) + own.uniform(0, 0.2),
            blood * own.uniform(0.6, 1.3) + own.uniform(0, 0.2),
        )
        dark = base * (0.6 + 0.7 * lesion.darkness)
        self.melanin = (
            self.body * np.float32(dark) * (1 + np.float32(uneven) * patchy + np.float32(0.35) * slope).clip(0.1, 3)
        )
        self.blood = self.body * np.float32(blood * (0.6 + 0.7 * lesion.darkness))
        self.masks[lesion.diagnosis] = self.body > 0.5
        whole = self.body > 0.5
        rest = wavy(theta, waves) - length(u, v) / np.float32(self.radius)
        if "asymmetry" in lesion.structures:
            self.masks["asymmetry"] = whole
        if "jagged border" in lesion.structures:
            self.masks["jagged border"] = np.abs(np.minimum(inner, rest)) < 0.2

    def within(self, n: int, reach: float) -> Float[np.ndarray, "n 2"]:
        """Points of the lesion by chance, up to ``reach`` of its radius from the middle."""
        r = reach * self.radius * np.sqrt(self.own.random(n))
        angle = self.own.uniform(0, 2 * math.pi, n)
        return np.stack([r * np.cos(angle), 0.85 * r * np.sin(angle)], axis=1)

    def add(
        self, name: str, weight: Plane, colour: tuple[float, float, float] | None = None, share: float = 1.0
    ) -> None:
        """A structure: its mask, and paint of some colour over the pigments if it has one."""
        self.masks[name] = weight > 0.4
        if colour is not None:
            self.paint.append((weight * np.float32(share * self.own.uniform(0.5, 1.0)), colour))


def _network(skin: _Skin) -> None:
    """A honeycomb: three waves at 120°, bent by noise; in a dermatofibroma at the rim alone."""
    key, own = skin.lesion.key, skin.own
    bend = 0.5 if skin.lesion.diagnosis == "mel" else 0.2
    u = skin.u + np.float32(bend * skin.cell) * noise_at(key + 2, skin.u, skin.v, 0.25)
    v = skin.v + np.float32(bend * skin.cell) * noise_at(key + 3, skin.u, skin.v, 0.25)
    wave = np.zeros_like(u)
    turn = own.uniform(0, math.pi)
    for angle in (turn, turn + 2 * math.pi / 3, turn + 4 * math.pi / 3):
        x = np.float32(math.cos(angle)) * u + np.float32(math.sin(angle)) * v
        wave += np.cos(x * np.float32(2 * math.pi / skin.cell))
    where = skin.body * (ramp(np.float32(0.5) - skin.depth, 0.3) if skin.lesion.diagnosis == "df" else 1)
    lines = ramp(np.float32(-0.1) - wave, 1.2) * where
    skin.melanin += lines * np.float32(0.55) - where * np.float32(0.12)
    skin.masks["network"] = where > 0.4


def _globules(skin: _Skin) -> None:
    dots = discs(skin.u, skin.v, skin.within(22, 0.95), skin.own.uniform(0.022, 0.05, 22)) * skin.body
    skin.melanin += dots * np.float32(0.8)
    skin.add("globules", dots)


def _veil(skin: _Skin) -> None:
    near = ramp(np.float32(0.55) - length(skin.u, skin.v) / np.float32(skin.radius), 0.5)
    haze = near * ramp(noise_at(skin.lesion.key + 4, skin.u, skin.v, 0.5 * skin.radius) + np.float32(0.7), 1.0)
    skin.add("blue-white veil", haze * skin.body, (0.44, 0.50, 0.62), 0.75)


def _cysts(skin: _Skin) -> None:
    dots = discs(skin.u, skin.v, skin.within(14, 0.85), skin.own.uniform(0.02, 0.042, 14))
    skin.add("milia-like cysts", dots, (0.97, 0.93, 0.80), 0.85)


def _openings(skin: _Skin) -> None:
    dots = discs(skin.u, skin.v, skin.within(9, 0.85), skin.own.uniform(0.025, 0.05, 9), 0.2)
    skin.add("comedo-like openings", dots, (0.22, 0.13, 0.08), 0.85)


def _branching(skin: _Skin) -> None:
    """Trunks from the rim inwards that fork twice."""
    own, lines = skin.own, list[Stroke]()
    thin = list[Stroke]()
    for _ in range(5):
        angle = own.uniform(0, 2 * math.pi)
        start = 0.95 * skin.radius * np.array([math.cos(angle), 0.85 * math.sin(angle)])
        way = angle + math.pi + own.uniform(-0.7, 0.7)
        for level, reach in enumerate((0.8, 0.45, 0.3)):
            step = reach * skin.radius * own.uniform(0.7, 1.1)
            bent = start + step / 2 * np.array([math.cos(way + 0.4), math.sin(way + 0.4)])
            end = start + step * np.array([math.cos(way), math.sin(way)])
            path = np.array(curve(tuple(start), tuple(bent), tuple(end)))
            (lines if level == 0 else thin).append([tuple(p) for p in skin.pose.to_film(path)])
            start, way = path[6], way + own.choice([-0.8, 0.8])
    tree = np.maximum(strokes(skin.shape, lines, 0.028), np.float32(0.9) * strokes(skin.shape, thin, 0.018))
    skin.add("branching vessels", tree * ramp(skin.depth + np.float32(0.1), 0.2), (0.72, 0.12, 0.16), 0.85)


def _nests(skin: _Skin) -> None:
    dots = discs(skin.u, skin.v * np.float32(1.4), skin.within(5, 0.6), skin.own.uniform(0.06, 0.12, 5), 0.5)
    skin.add("blue-grey nests", dots * skin.body, (0.36, 0.38, 0.47), 0.8)


def _scale(skin: _Skin) -> None:
    flakes = noise_at(skin.lesion.key + 5, skin.u, skin.v, 0.09) + np.float32(0.4) * noise_at(
        skin.lesion.key + 6, skin.u, skin.v, 0.03
    )
    skin.add("scale", ramp(flakes - np.float32(0.6), 0.9) * skin.body, (0.96, 0.92, 0.82), 0.75)


def _patch(skin: _Skin) -> None:
    near = ramp(np.float32(0.4) - length(skin.u, skin.v) / np.float32(skin.radius), 0.45)
    skin.add("white patch", near, (0.95, 0.86, 0.83), 0.8)


def _lacunae(skin: _Skin) -> None:
    dots = discs(skin.u, skin.v, skin.within(16, 0.8), skin.own.uniform(0.06, 0.12, 16) * (0.6 + skin.radius), 0.35)
    skin.add("lacunae", dots * skin.body, (0.50, 0.06, 0.16), 0.8)


_PAINTERS = {
    "network": _network,
    "globules": _globules,
    "blue-white veil": _veil,
    "blue-grey nests": _nests,
    "milia-like cysts": _cysts,
    "comedo-like openings": _openings,
    "lacunae": _lacunae,
    "branching vessels": _branching,
    "white patch": _patch,
    "scale": _scale,
}


def _hairs(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    wide = shape[1] / min(shape)
    lines = []
    for _ in range(int(rng.integers(4, 14))):
        x, y = rng.uniform(-wide, wide), rng.uniform(-1, 1)
        way, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 1.4)
        bend = way + rng.uniform(-0.6, 0.6)
        middle = (x + reach / 2 * math.cos(bend), y + reach / 2 * math.sin(bend))
        lines.append(curve((x, y), middle, (x + reach * math.cos(way), y + reach * math.sin(way))))
    return strokes(shape, lines, 0.013)


def _ruler(shape: tuple[int, int], rng: np.random.Generator) -> Plane:
    """A scale along the lower or upper edge, every fifth tick longer."""
    wide, step = shape[1] / min(shape), rng.uniform(0.10, 0.14)
    side = 1 if rng.random() < 0.5 else -1
    y, x, number, ticks = side * rng.uniform(0.84, 0.92), -wide + rng.uniform(0, step), 0, list[Stroke]()
    while x < wide:
        ticks.append([(x, y), (x, y - side * (0.16 if number % 5 == 0 else 0.08))])
        x, number = x + step, number + 1
    return strokes(shape, [*ticks, [(-wide, y), (wide, y)]], 0.018)


def render_lesion(config: PhantomConfig, lesion: Lesion, picture: Picture) -> tuple[UInt8[np.ndarray, "h w 3"], Masks]:
    """Draw one picture; other pictures of the lesion differ in pose, light, hairs and noise.

    Returns:
        The image in RGB, and the mask of the lesion (by its diagnosis), of each structure and of each artefact.
    """
    rng = generator(config, "film", lesion.index, picture.number)
    skin = _Skin(config, lesion, rng)
    for name, paint in _PAINTERS.items():
        if name in lesion.structures:
            paint(skin)
    tone = np.array(_TONES[lesion.tone], np.float32) * np.float32(
        np.random.default_rng(lesion.key + 7).uniform(0.93, 1.05)
    )
    # The skin itself: furrows, and blotches of blood.
    fine = noise_at(lesion.key + 8, skin.u, skin.v, 0.045) * np.float32(0.025)
    blotch = noise_at(lesion.key + 9, skin.u, skin.v, 0.5) * np.float32(0.03)
    took = (skin.melanin + fine)[..., None] * np.array(_MELANIN, np.float32) * skin.hue.astype(np.float32)
    took = took + (skin.blood + blotch + np.float32(0.05))[..., None] * np.array(_BLOOD, np.float32)
    rgb: Colour = tone * np.exp(-took)
    for weight, colour in skin.paint:
        rgb += weight[..., None] * (np.array(colour, np.float32) * tone.mean() ** np.float32(0.35) - rgb)
    masks = dict(skin.masks)
    _on_the_glass(rgb, masks, picture, rng, skin.shape)
    slope = rng.uniform(-0.06, 0.06, 2)
    x, y = Pose(1.0, 0.0, 0.0, 0.0).grid(*skin.shape)
    light = np.float32(rng.uniform(0.88, 1.08)) * (1 + np.float32(slope[0]) * x + np.float32(slope[1]) * y)
    rgb *= light[..., None] * rng.uniform(0.95, 1.05, 3).astype(np.float32)
    if "vignette" in picture.artefacts:
        ring = ramp(length(x, y) - np.float32(rng.uniform(0.98, 1.12)), 0.10)
        rgb *= (1 - ring)[..., None]
        masks["vignette"] = ring > 0.5
    rgb += np.float32(rng.uniform(0.006, 0.016)) * rng.standard_normal(rgb.shape, dtype=np.float32)
    levels: UInt8[np.ndarray, "h w 3"] = np.clip(rgb * np.float32(255) + 0.5, 0, 255).astype(np.uint8)
    return levels, masks


def _on_the_glass(
    rgb: Colour, masks: Masks, picture: Picture, rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    if "hairs" in picture.artefacts:
        hairs = _hairs(shape, rng)
        rgb *= 1 - np.float32(0.8) * hairs[..., None]
        masks["hairs"] = hairs > 0.4
    if "bubbles" in picture.artefacts:
        u, v = Pose(1.0, 0.0, 0.0, 0.0).grid(*shape)
        centres, radii = rng.uniform(-0.9, 0.9, (7, 2)), rng.uniform(0.03, 0.09, 7)
        ball, hollow = discs(u, v, centres, radii, 0.2), discs(u, v, centres, radii * 0.75, 0.5)
        rgb += ((ball - hollow) * np.float32(0.22))[..., None]
        masks["bubbles"] = ball > 0.5
    if RULER in picture.artefacts:
        ruler = _ruler(shape, rng)
        rgb *= 1 - np.float32(0.85) * ruler[..., None]
        masks[RULER] = ruler > 0.4
