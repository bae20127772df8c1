"""Clinical notes about an eye: what the image shows, and pressure and plans, which no image shows."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import generator
from neuroconcepts_ray.phantom.eyes import PRESSURE, Subject, draw_subject, eye_world

_OPENINGS = (
    "A {age}-year-old {race} {sex} was seen for an eye examination.",
    "The patient, a {age} year old {sex} of {race} race, came for follow-up.",
    "{age} y.o. {sex}, {race}, referred for evaluation.",
)
_HAS = ("The patient has glaucoma.", "Findings are consistent with glaucoma.", "Diagnosed with open-angle glaucoma.")
_HAS_NOT = ("There is no glaucoma.", "No evidence of glaucoma.", "The patient does not have glaucoma.")
_SUSPECT = ("The patient is a glaucoma suspect.", "Glaucoma is suspected.", "Possible glaucoma, to be observed.")
_CUPS = ("The cup-to-disc ratio is {cup:.1f}.", "C/D {cup:.1f}.", "Optic nerve: cup to disc ratio of {cup:.1f}.")
_TOLD = {
    "rim notch": ("There is a notch of the {zone} rim.", "{zone} rim notching is noted."),
    "disc haemorrhage": ("A disc haemorrhage is present.", "Drance haemorrhage at the disc margin."),
    "nerve fibre defect": ("There is a {zone} nerve fibre layer defect.", "{zone} RNFL thinning."),
    "peripapillary atrophy": ("Peripapillary atrophy is seen.", "PPA is present."),
    PRESSURE: ("Intraocular pressure is elevated at {high} mmHg.", "IOP {high}, above target."),
}
_DENIED = {
    "rim notch": ("No notch of the rim.", "The rim is intact."),
    "disc haemorrhage": ("No disc haemorrhage.", "Without haemorrhage at the disc."),
    "nerve fibre defect": ("No nerve fibre layer defect.", "RNFL is full."),
    "peripapillary atrophy": ("No peripapillary atrophy.", "Without PPA."),
    PRESSURE: ("Intraocular pressure is normal at {low} mmHg.", "IOP {low}, at target."),
}
_PLANS = ("Continue latanoprost.", "Return in six months.", "Repeat visual field and OCT.", "No drops at present.")
_ZONES = {"upper": "superior", "lower": "inferior"}


@lru_cache(maxsize=8)
def _habit(words: int) -> Float[np.ndarray, "3"]:
    """How often a world says a thing in each of three ways."""
    return np.random.default_rng(words).dirichlet(np.full(3, 0.8))


def write_note(config: PhantomConfig, subject: Subject, *, summarized: bool) -> str:
    """The clinical note, or its summary: the same facts in fewer words.

    Each sign that is there is left out, and each that is not is denied, as often as the config says.
    """
    if config.reports == "independent":
        # A stranger's eye, told of this person: nothing of it is on the image.
        other = draw_subject(config.model_copy(update={"reports": "films"}), subject.index + 1_000_000)
        age, sex, race = subject.age, subject.sex, subject.race
    else:
        other, age, sex, race = subject, subject.age, subject.sex, subject.race
    # Summary and note tell the same, so what is told has a generator of its own.
    facts, rng = generator(config, "report", subject.index), generator(config, "report", subject.index, 1 + summarized)
    habit = _habit(eye_world(config.seed).words)

    def pick(options: tuple[str, ...]) -> str:
        weights = habit[: len(options)] / habit[: len(options)].sum()
        return options[int(rng.choice(len(options), p=weights))]

    lines = []
    doubt, *chances = facts.random(1 + 2 * len(_TOLD)).tolist()
    if other.glaucoma:
        lines.append(pick(_SUSPECT if doubt < config.uncertain else _HAS))
    elif doubt < config.negated:
        lines.append(pick(_HAS_NOT))
    if facts.random() > config.omitted:
        lines.append(pick(_CUPS))
    for (name, told), chance in zip(_TOLD.items(), chances, strict=False):
        if name in other.seen:
            lines += [pick(told)] * (chance >= config.omitted)
        elif chance < config.negated:
            lines.append(pick(_DENIED[name]))
    words = {"cup": other.cup, "zone": _ZONES[other.zone], "high": int(facts.integers(23, 34)),
             "low": int(facts.integers(10, 20))}  # fmt: skip
    plan = [_PLANS[int(facts.integers(len(_PLANS)))]]
    order = facts.permutation(len(lines))
    opening = _OPENINGS[int(rng.integers(len(_OPENINGS)))].format(age=age, sex=sex, race=race)
    body = [lines[i].format(**words) for i in order]
    body = [line[0].upper() + line[1:] for line in body]
    extra = [] if summarized else ["Vision 20/25. Slit lamp examination unremarkable.", "Medications were reviewed."]
    return " ".join([opening, *extra, *body, *plan])
