"""Mammograms: the breast against the dark film, glandular tissue, and the abnormalities in it.

The breast has a frame of its own: p from 0 at the chest wall to 1 at the nipple, q from −1 above to 1 below.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from neuroconcepts_ray.phantom.abnormalities import calcification, mass
from neuroconcepts_ray.phantom.canvas import discs, noise_at, strokes
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.mammograms import MASS, SCANNER, SCRATCH, SILENT, VIEWS, Abnormality, Case, breast_world
from neuroconcepts_ray.phantom.scene import Plane, bump, curve, length, ramp

Mask = Bool[np.ndarray, "h w"]


@dataclass(frozen=True)
class Breast:
    """Where everything lies on one film.

    Args:
        x: Distance of each pixel from the chest wall, in halves of the film's short side.
        y: Height, downwards from the film's middle, in the same unit.
        p: First coordinate of the breast's frame.
        q: Second coordinate.
        inside: Distance to the skin line in the breast's frame; negative outside.
        depth: Unit of p, in halves of the short side.
        height: Unit of q.
        middle: y of q = 0.
        mirrored: Whether the chest wall is at the film's right.
    """

    x: Plane
    y: Plane
    p: Plane
    q: Plane
    inside: Plane
    depth: float
    height: float
    middle: float
    mirrored: bool

    @property
    def tissue(self) -> Mask:
        """Where there is breast."""
        return self.inside > 0

    def at(self, place: tuple[float, float]) -> tuple[float, float]:
        """(x, y) of a place in the breast's frame."""
        return place[0] * self.depth, self.middle + place[1] * self.height

    def film(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Points (x, y) as :func:`~neuroconcepts_ray.phantom.canvas.strokes` wants them."""
        wall = -self.x.shape[1] / min(self.x.shape)
        return [((-1 if self.mirrored else 1) * (wall + x), y) for x, y in points]


def lay_breast(config: PhantomConfig, case: Case, view: str) -> Breast:
    """The geometry of one film; cheap, and all that the lists of patches need."""
    side, _, direction = view.partition("_")
    number = VIEWS.index(view)
    rng, own = generator(config, "film", case.index, number), np.random.default_rng(case.key)
    size, droop = own.uniform(0.85, 1.15), own.uniform(0.02, 0.2)
    rows, columns = config.height, config.width
    half = min(rows, columns) / 2
    x = np.broadcast_to(((np.arange(columns, dtype=np.float32) + 0.5) / half)[None, :], (rows, columns))
    y = np.broadcast_to(((np.arange(rows, dtype=np.float32) + 0.5 - rows / 2) / half)[:, None], (rows, columns))
    mirrored = side == "RIGHT"
    x = x[:, ::-1] if mirrored else x
    deep = min(1.75 * columns / (2 * half), 1.35 * size) * rng.uniform(0.92, 1.06)
    tall = 0.88 * rows / (2 * half) * min(1.05, size) * rng.uniform(0.94, 1.04)
    middle = rng.uniform(-0.06, 0.06) + (droop if direction == "MLO" else 0.0)
    p, q = x / np.float32(deep), (y - np.float32(middle)) / np.float32(tall)
    # Seen from the side a breast hangs: below the nipple it is rounder, above it straight towards the axilla.
    round_ = (
        np.where(q < 0, np.abs(q) ** np.float32(1.5), np.abs(q) ** np.float32(2.2)) if direction == "MLO" else q * q
    )
    inside = 1 - np.sqrt(p * p + round_)
    return Breast(
        x.astype(np.float32), y.astype(np.float32), p, q, inside.astype(np.float32), deep, tall, middle, mirrored
    )


def _glands(config: PhantomConfig, case: Case, breast: Breast, view: str) -> Plane:
    """Glandular tissue behind the nipple: a cone of clouds and of strands that run to the nipple."""
    looks = np.random.default_rng(breast_world(config.seed).looks)
    key = case.key + 10 * VIEWS.index(view)
    dense = (case.density - 1) / 3
    reach = ramp(
        1 - length((breast.p - 0.5) / np.float32(0.34 + 0.16 * dense), breast.q / np.float32(0.40 + 0.25 * dense)), 0.8
    )
    clouds = sum(
        (np.float32(weight) * noise_at(key + octave, breast.p, breast.q, cell)
         for octave, (cell, weight) in enumerate(((0.5, 0.55), (0.22, 0.4), (0.1, 0.28), (0.045, 0.18)))),
        start=np.zeros_like(breast.p),
    )  # fmt: skip
    angle = np.arctan2(breast.q, np.float32(1.05) - breast.p)
    far = length(breast.q, np.float32(1.05) - breast.p)
    strands = noise_at(key + 5, angle * np.float32(looks.uniform(5, 8)), far, 0.6)
    strands = bump(strands, 0.5)
    glands: Plane = reach * (np.float32(0.5) + np.float32(0.5) * clouds).clip(0, 1.6) * np.float32(0.08 + 0.24 * dense)
    glands += reach.clip(0.25, 1) * strands * np.float32(0.045 + 0.02 * dense) * ramp(breast.inside, 0.2)
    return glands


def _things(case: Case, breast: Breast, view: str, masks: dict[str, Mask]) -> Plane:
    """What no overlay tells: vessels with or without calcium, a lymph node; the pectoral muscle."""
    own = np.random.default_rng([case.key, len(view), view.startswith("LEFT")])
    shape = (breast.x.shape[0], breast.x.shape[1])
    out: Plane = np.zeros_like(breast.x)
    if view.endswith("MLO"):
        edge = np.float32(0.42) - breast.p * np.float32(1.1) - (breast.q + 1) * np.float32(0.38)
        out += ramp(edge, 0.04) * np.float32(0.20)
    vessels = []
    for _ in range(3):
        low, high = own.uniform(-0.8, 0.8), own.uniform(-0.4, 0.4)
        path = curve(
            breast.at((0.0, low)), breast.at((0.3, low + own.uniform(-0.2, 0.2))), breast.at((0.75, high)), steps=24
        )
        vessels.append(path)
    inside = ramp(breast.inside, 0.05)
    out += strokes(shape, [breast.film(path) for path in vessels], 0.03) * inside * np.float32(0.06)
    if case.arterial:
        first = np.array(vessels[0])
        rails = [(first + offset)[i : i + 2].tolist() for offset in (-0.022, 0.022) for i in range(0, 23, 3)]
        tram = strokes(shape, [breast.film([(x, y) for x, y in rail]) for rail in rails], 0.018) * inside
        out += tram * np.float32(0.32)
        masks[SILENT[0]] = tram > 0.3
    if view.endswith("MLO") and view.partition("_")[0] in case.nodes:
        x, y = breast.at((float(own.uniform(0.08, 0.2)), float(own.uniform(-0.8, -0.6))))
        node = ramp(
            1 - length((breast.x - np.float32(x)) / np.float32(0.09), (breast.y - np.float32(y)) / np.float32(0.13)),
            0.3,
        )
        hilum = ramp(
            1
            - length(
                (breast.x - np.float32(x + 0.03)) / np.float32(0.04), (breast.y - np.float32(y)) / np.float32(0.06)
            ),
            0.6,
        )
        out += node * np.float32(0.22) - hilum * np.float32(0.16)
        masks[SILENT[1]] = node > 0.4
    return out


def region(breast: Breast, view: str, found: Abnormality) -> Mask:
    """What a radiologist would outline of an abnormality on one film."""
    outline: Mask = _paint(breast, view, found)[1] & breast.tissue
    return outline


def _paint(breast: Breast, view: str, found: Abnormality) -> tuple[Plane, Mask]:
    paint = mass if found.kind == MASS else calcification
    return paint(breast.x, breast.y, breast.at(found.places[view.partition("_")[2]]), found)


def render_mammogram(
    config: PhantomConfig, case: Case, view: str
) -> tuple[UInt8[np.ndarray, "h w"], dict[str, Mask], list[tuple[Abnormality, Mask]]]:
    """Draw one film.

    Returns:
        The grey image; the masks of what no overlay tells and of artefacts; each abnormality on the film with its
        region.
    """
    number = VIEWS.index(view)
    breast, rng = lay_breast(config, case, view), generator(config, "film", case.index, number, 1)
    masks: dict[str, Mask] = {}
    inside = ramp(breast.inside, 0.05)
    picture = inside * (np.float32(0.20) + np.float32(0.14) * np.sqrt(breast.inside.clip(0, 1)))
    picture += inside * _glands(config, case, breast, view)
    # The skin, and the nipple on it.
    picture += bump(breast.inside - np.float32(0.015), 0.03) * np.float32(0.10)
    x, y = breast.at((0.985, 0.0))
    picture = np.maximum(
        picture,
        ramp(1 - length(breast.x - np.float32(x), breast.y - np.float32(y)) / np.float32(0.055), 0.5) * np.float32(0.4),
    )
    picture += inside * _things(case, breast, view, masks)
    shown = []
    for found in case.shown(view):
        light, outline = _paint(breast, view, found)
        picture += light * inside
        shown.append((found, outline & breast.tissue))
    if view in case.scratched:
        line = curve(*((rng.uniform(-1, 1), rng.uniform(-1, 1)) for _ in range(3)))
        scratch = strokes((config.height, config.width), [line], 0.012)
        picture += scratch * np.float32(0.22)
        masks[SCRATCH] = scratch > 0.4
    return _scan(picture, case, breast, rng, masks), masks, shown


def _scan(
    picture: Plane, case: Case, breast: Breast, rng: np.random.Generator, masks: dict[str, Mask]
) -> UInt8[np.ndarray, "h w"]:
    """Marker, exposure and the digitiser's noise; the coarse scanner has more, and a light film base."""
    left, top = (
        np.float32(breast.x.max() * rng.uniform(0.80, 0.86)),
        np.float32(breast.y.min() * rng.uniform(0.78, 0.86)),
    )
    plate = ramp(np.float32(0.11) - np.abs(breast.x - left), 0.02) * ramp(
        np.float32(0.07) - np.abs(breast.y - top), 0.02
    )
    letters = discs(
        breast.x,
        breast.y,
        np.array([[left - 0.05, top], [left + 0.01, top], [left + 0.06, top]]),
        np.full(3, 0.03),
        0.3,
    )
    picture = np.maximum(picture, plate * np.float32(0.75) - letters * np.float32(0.55))
    picture = np.float32(0.02) + picture * np.float32(rng.uniform(0.9, 1.15))
    picture = picture.clip(0, 1.2) ** np.float32(rng.uniform(0.85, 1.15))
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    if case.site == "B":
        coarse = rng.standard_normal(((picture.shape[0] + 1) // 2, (picture.shape[1] + 1) // 2), dtype=np.float32)
        coarse = coarse.repeat(2, 0).repeat(2, 1)[: picture.shape[0], : picture.shape[1]]
        picture = np.float32(0.06) + picture * np.float32(0.94) + np.float32(0.016) * coarse
        masks[SCANNER] = np.ones(picture.shape, dtype=bool)
    picture += np.float32(rng.uniform(0.005, 0.014)) * noise
    levels: UInt8[np.ndarray, "h w"] = np.clip(picture * np.float32(255) + 0.5, 0, 255).astype(np.uint8)
    return levels
