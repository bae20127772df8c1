"""Fundus images as a scanning laser ophthalmoscope gives them: disc, cup, vessels, and what glaucoma does to them."""

import math

import numpy as np
from jaxtyping import Bool, UInt8

from neuroconcepts_ray.phantom.canvas import discs, draw_waves, noise_at, strokes, wavy
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.eyes import DUST, GLAUCOMA, SHADOW, Subject, eye_world
from neuroconcepts_ray.phantom.scene import Plane, Pose, Stroke, curve, length, ramp

Masks = dict[str, Bool[np.ndarray, "h w"]]

_BACKGROUND = {"asian": 0.46, "black": 0.38, "white": 0.54}
_RADIUS = 0.30


def _vessels(own: np.random.Generator, pose: Pose, sign: float, tortuous: bool) -> tuple[list[Stroke], list[Stroke]]:
    """Arteries and veins of the four quadrants, thick near the disc, and their twigs; temporal is at u·sign > 0."""
    thick, thin = list[Stroke](), list[Stroke]()
    wave = 0.03 if tortuous else 0.008
    for up in (-1.0, 1.0):
        for temporal, reach in ((1.0, 1.7), (-1.0, 1.3)):
            for vein in (0.0, 1.0):
                start = (0.02 * temporal * sign, up * 0.03)
                spread = own.uniform(-0.12, 0.12) + 0.12 * vein
                if temporal > 0:  # the arcades go around the macula
                    bend = (sign * (0.15 + spread), up * (0.75 + spread))
                    end = (sign * (reach + spread), up * own.uniform(0.45, 0.8))
                else:
                    bend = (-sign * (0.25 + spread), up * (0.5 + spread))
                    end = (-sign * reach * own.uniform(0.5, 1.0), up * own.uniform(0.7, 1.3))
                path = np.array(curve(start, bend, end, steps=40))
                t = np.linspace(0, 1, 40)
                phase = own.uniform(0, 2 * math.pi)
                path[:, 1] += wave * np.sin(phase + 30 * t) * np.minimum(1, 5 * t)
                path[:, 0] += wave * np.cos(phase + 27 * t) * np.minimum(1, 5 * t)
                thick.append([tuple(p) for p in pose.to_film(path)])
                for at in own.integers(8, 36, 4):
                    step = path[at] - path[at - 1]
                    way = math.atan2(step[1], step[0]) + own.choice([-0.8, 0.8])
                    far = own.uniform(0.25, 0.55)
                    middle = path[at] + far / 2 * np.array([math.cos(way), math.sin(way)])
                    tip = path[at] + far * np.array([math.cos(way + 0.4), math.sin(way + 0.4)])
                    twig = np.array(curve(tuple(path[at]), tuple(middle), tuple(tip)))
                    thin.append([tuple(p) for p in pose.to_film(twig)])
    return thick, thin


def render_fundus(config: PhantomConfig, subject: Subject) -> tuple[UInt8[np.ndarray, "h w"], Masks]:
    """Draw one image.

    Returns:
        The grey image; and the mask of the cup (as "glaucoma", where that is there), of each sign, of what no note
        tells and of each artefact.
    """
    rng, own = generator(config, "film", subject.index), np.random.default_rng(subject.key)
    looks = np.random.default_rng(eye_world(config.seed).looks)
    shape = (config.height, config.width)
    pose = Pose(rng.uniform(0.9, 1.15), rng.uniform(-0.12, 0.12), rng.uniform(-0.38, 0.38), rng.uniform(-0.30, 0.30))
    u, v = pose.grid(*shape)
    # The macula is temporal of the disc: to the left of it in a right eye.
    sign = 1.0 if subject.side == "left" else -1.0
    low = 1.0 if subject.zone == "lower" else -1.0
    masks: Masks = {}
    theta, r = np.arctan2(v, u * np.float32(sign)), length(u, v)
    disc_radius = _RADIUS * own.uniform(0.78, 1.18)
    edge = wavy(theta, draw_waves(own, 2, 3, 0.04)) * np.float32(disc_radius)
    picture = np.full(shape, _BACKGROUND[subject.race] + own.normal(0, 0.05), np.float32)
    picture += np.float32(0.045) * noise_at(subject.key + 1, u, v, 0.35)
    # Choroid: a coarse weave that pigment hides.
    picture += np.float32(looks.uniform(0.02, 0.04)) * noise_at(subject.key + 2, u, v, 0.09)
    picture -= np.float32(0.20) * np.exp(
        -(np.square(u - np.float32(sign * 0.95)) + np.square(v - np.float32(0.08))) / np.float32(0.05)
    )
    # Nerve fibres leave the disc above and below and make it lighter there.
    arc = theta * np.float32(low) - np.float32(0.95)
    fibres = (
        np.exp(-np.square((np.abs(theta) - np.float32(1.25)) / np.float32(0.55))) * ramp(r - edge, 0.1) * np.exp(-r)
    )
    stripes = np.float32(0.85) + np.float32(0.15) * np.cos(
        theta * np.float32(46) + np.float32(4) * noise_at(subject.key + 3, u, v, 0.4)
    )
    picture += np.float32(0.26) * fibres * stripes
    if "nerve fibre defect" in subject.seen:
        width = own.uniform(0.10, 0.20)
        wedge = ramp(np.float32(width) - np.abs(arc + np.float32(own.uniform(-0.2, 0.2))), 0.08) * ramp(r - edge, 0.06)
        wedge *= ramp(np.float32(1.15) - r, 0.5)
        picture -= np.float32(own.uniform(0.10, 0.18)) * wedge
        masks["nerve fibre defect"] = wedge > 0.4
    if "peripapillary atrophy" in subject.seen:
        halo = edge * np.float32(own.uniform(1.25, 1.5)) + np.float32(0.05) * np.cos(theta) - r
        ring = ramp(halo, 0.04) * ramp(np.cos(theta) + np.float32(own.uniform(0.1, 0.6)), 0.4) * ramp(r - edge, 0.03)
        picture += (
            np.float32(own.uniform(0.08, 0.20)) * ring * (1 + np.float32(0.15) * noise_at(subject.key + 4, u, v, 0.04))
        )
        masks["peripapillary atrophy"] = ring > 0.4
    if "drusen" in subject.seen:
        spots = np.stack([sign * 0.95 + own.normal(0, 0.2, 26), own.normal(0.05, 0.2, 26)], axis=1)
        dots = discs(u, v, spots, own.uniform(0.015, 0.04, 26), 0.6)
        picture += np.float32(0.22) * dots
        masks["drusen"] = dots > 0.4
    disc = ramp(edge - r, 0.035)
    picture += disc * (np.float32(own.uniform(0.58, 0.72)) - picture).clip(0.10, None) * np.float32(0.75)
    cup, notch = _cup(subject, own, theta, r, edge, low)
    picture += cup * np.float32(own.uniform(0.15, 0.30))
    if subject.glaucoma:
        masks[GLAUCOMA] = cup > 0.5
    if "rim notch" in subject.seen:
        masks["rim notch"] = notch
    thick, thin = _vessels(own, pose, sign, "tortuous vessels" in subject.seen)
    tree = np.maximum(strokes(shape, thick, 0.032), np.float32(0.75) * strokes(shape, thin, 0.017))
    picture *= 1 - np.float32(0.52) * tree * (np.float32(1) - np.float32(0.35) * cup)
    if "tortuous vessels" in subject.seen:
        masks["tortuous vessels"] = tree > 0.4
    if "disc haemorrhage" in subject.seen:
        angle = low * own.uniform(0.5, 1.4)
        along = (theta - np.float32(angle)) / np.float32(0.16)
        flame = ramp(np.float32(1) - length(along, (r - edge * np.float32(1.02)) / np.float32(0.075)), 0.5)
        picture *= 1 - np.float32(0.6) * flame
        masks["disc haemorrhage"] = flame > 0.4
    return _expose(picture, subject, rng, masks), masks


def _cup(
    subject: Subject, own: np.random.Generator, theta: Plane, r: Plane, edge: Plane, low: float
) -> tuple[Plane, Bool[np.ndarray, "h w"]]:
    """The cup, whose height is ``subject.cup`` of the disc's, and where a notch widens it towards the rim."""
    tall = 1 - np.float32(own.uniform(0.0, 0.12)) * np.square(np.cos(theta))
    even = np.float32(subject.cup) * edge * tall
    outer = even
    if "rim notch" in subject.seen:
        away = (theta - np.float32(low * own.uniform(1.0, 1.5))) / np.float32(own.uniform(0.32, 0.5))
        outer = even + (edge * np.float32(0.97) - even).clip(0, None) * np.exp(-away * away)
    cup = ramp(outer - r, 0.05)
    return cup, (r < outer) & (r > even)


def _expose(picture: Plane, subject: Subject, rng: np.random.Generator, masks: Masks) -> UInt8[np.ndarray, "h w"]:
    x, y = Pose(1.0, 0.0, 0.0, 0.0).grid(*picture.shape)
    tilt = rng.uniform(-0.06, 0.06, 2)
    picture = picture + np.float32(tilt[0]) * x + np.float32(tilt[1]) * y
    picture -= np.float32(rng.uniform(0.05, 0.2)) * (length(x, y) - np.float32(0.5)).clip(0, None)
    if SHADOW in subject.seen:
        low = (
            -y
            - np.float32(rng.uniform(0.80, 0.92) * picture.shape[0] / min(picture.shape))
            + np.float32(0.12) * np.square(x)
        )
        lid = ramp(low, 0.12)
        picture *= 1 - np.float32(0.75) * lid
        masks[SHADOW] = lid > 0.4
    if DUST in subject.seen:
        specks = discs(x, y, rng.uniform(-1, 1, (5, 2)), rng.uniform(0.02, 0.05, 5), 0.8)
        picture *= 1 - np.float32(0.35) * specks
        masks[DUST] = specks > 0.4
    picture = (picture * np.float32(rng.uniform(0.85, 1.15))).clip(0, 1.2) ** np.float32(rng.uniform(0.85, 1.2))
    picture += np.float32(rng.uniform(0.02, 0.05)) * rng.standard_normal(picture.shape, dtype=np.float32)
    levels: UInt8[np.ndarray, "h w"] = np.clip(picture * np.float32(255) + 0.5, 0, 255).astype(np.uint8)
    return levels
