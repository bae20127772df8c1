"""One film: anatomy in the view's projection, what is there painted on it, then exposure, noise and marks."""

import numpy as np
from jaxtyping import Bool, UInt8

from neuroconcepts_ray.phantom import exposure, others
from neuroconcepts_ray.phantom.anatomy import Body, frontal, lateral, vessels
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import Film, Patient, Study, generator
from neuroconcepts_ray.phantom.findings import PAINTERS
from neuroconcepts_ray.phantom.looks import draw_look
from neuroconcepts_ray.phantom.scene import Pose
from neuroconcepts_ray.phantom.truth import TEXT
from neuroconcepts_ray.phantom.world import SHORTCUTS, UNREPORTED, draw_world


def _pose(rng: np.random.Generator, view: str) -> Pose:
    size = rng.uniform(0.82, 1.06) * (1.03 if view == "AP" else 1.0)
    return Pose(size, rng.uniform(-0.10, 0.10), rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12))


def _lasting(patient: Patient, name: str) -> np.random.Generator:
    """The generator of what a patient has in every film alike."""
    return np.random.default_rng([int(patient.anatomy["key"]), 2 + UNREPORTED.index(name)])


def _body(patient: Patient, study: Study, view: str, breath: float) -> Body:
    """The person that day. The cardiothoracic ratio is below .5 normally, enlarged well above; an AP film enlarges."""
    ratio, dense = patient.anatomy["heart"] + (0.01 if view == "AP" else 0.0), 0.06
    enlarged = next((f for f in study.findings if f.name == "Cardiomegaly"), None)
    if enlarged is not None:
        ratio, dense = ratio + 0.13 + 0.10 * enlarged.size, dense + 0.02 * enlarged.severity
    bend = None
    if "Scoliosis" in study.others:
        rng = _lasting(patient, "Scoliosis")
        bend = (float(rng.choice([-1.0, 1.0]) * rng.uniform(0.12, 0.20)), rng.uniform(0, 2 * np.pi))
    return Body(patient.anatomy, ratio, dense, breath, bend)


def render(
    config: PhantomConfig, patient: Patient, study: Study, film: Film
) -> tuple[UInt8[np.ndarray, "h w"], dict[str, Bool[np.ndarray, "h w"]]]:
    """Draw one film.

    Every factor draws from a generator of its own: putting one in or taking it out moves no other.

    Returns:
        The grey image; and for each factor of :data:`~neuroconcepts_ray.phantom.truth.FACTORS` that shows on it, the
        mask of the pixels that it changes. Cardiomegaly's is the whole heart, that of a spiculated margin its strands.
    """
    look = draw_look(draw_world(config.seed).looks)
    rng = generator(config, "film", *film.key)
    pose, breath, shape = _pose(rng, film.view), rng.uniform(-0.09, 0.08), (config.height, config.width)
    body = _body(patient, study, film.view, breath)
    is_lateral = film.view == "LATERAL"
    scene = lateral(pose, body, look, shape) if is_lateral else frontal(pose, film.view, body, look, shape)
    vessels(scene, np.random.default_rng([int(patient.anatomy["key"]), int(is_lateral)]))
    masks, there = scene.masks, study.others
    present = {finding.name: finding for finding in study.findings}
    if "Cardiomegaly" in present:
        masks["Cardiomegaly"] = scene.heart > 0.1
    for name, paint in others.PAINTERS.items():
        if name in there:
            masks[name] = paint(scene, _lasting(patient, name))
    for name, paint_finding in PAINTERS.items():
        if name in present:
            masks[name] = paint_finding(scene, present[name], np.random.default_rng(present[name].key))
    # Streams of the film beside that of its pose; 0 is left out, as a seed that ends in 0 may be that without it.
    own = {name: generator(config, "film", *film.key, 1 + at) for at, name in enumerate((*SHORTCUTS, TEXT))}
    if "Drain" in there:
        masks["Drain"] = others.drain(scene, own["Drain"])
    picture = exposure.expose(scene, rng)
    if "Grain" in there:
        masks["Grain"] = exposure.grain(picture, look, own["Grain"])
    boxed = exposure.mark(picture, look, own["Boxed Mark"], "Boxed Mark" in there)
    if "Boxed Mark" in there:
        masks["Boxed Mark"] = boxed
    if film.text:
        masks[TEXT] = exposure.text(picture, look, own[TEXT])
    exposure.collimate(picture, rng)
    if "Border" in there:
        masks["Border"] = exposure.border(picture, look, own["Border"])
    return exposure.grey(picture), masks
