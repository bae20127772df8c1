"""One radiologist's sentences: wordings filled in for a finding and put into frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from neuroconcepts_ray.phantom.draw import SEVERITIES, Finding
from neuroconcepts_ray.phantom.lexicon import Lexicon
from neuroconcepts_ray.phantom.wordings import Clause, Noun

T = TypeVar("T")

_BY_SIZE = ("Consolidation", "Lung Lesion", "Pleural Effusion", "Pneumothorax")
_CONSTANT = ("Fracture", "Support Devices")
STEP = 0.15
"""A smaller change of size or severity is none to a radiologist."""

_DEGREE_LEFT_OUT = 0.25
_UNUSUAL = 0.06


def change(finding: Finding, earlier: Sequence[Finding] | None) -> str:
    """What became of a finding since the study before.

    Returns:
        "new", "increased", "decreased" or "unchanged"; "" where there was no study before.
    """
    if earlier is None:
        return ""
    before = next((old for old in earlier if old.name == finding.name), None)
    if before is None:
        return "new"
    measure = "size" if finding.name in _BY_SIZE else "severity"
    step = getattr(finding, measure) - getattr(before, measure)
    if finding.name in _CONSTANT or abs(step) < STEP:
        return "unchanged"
    return "increased" if step > 0 else "decreased"


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """One of them, all equally likely."""
    return options[int(rng.random() * len(options))]


@dataclass(frozen=True)
class _Phrase:
    """A noun phrase without its article."""

    words: str
    counted: bool
    plural: bool

    @property
    def with_article(self) -> str:
        if not self.counted:
            return self.words
        return f"{'an' if self.words[0] in 'aeiou' else 'a'} {self.words}"


def _phrase(text: str, plural: bool = False) -> _Phrase:
    article, _, rest = text.partition(" ")
    counted = article in ("a", "an")
    return _Phrase(rest if counted else text, counted and not plural, plural)


def _joined(phrases: Sequence[_Phrase]) -> _Phrase:
    if len(phrases) == 1:
        return phrases[0]
    return _Phrase(" and ".join(phrase.words for phrase in phrases), False, True)


@dataclass(frozen=True)
class Speaker:
    """Who words a report.

    Args:
        rng: The report's generator.
        lexicon: What the world speaks.
        terse: Says phrases, not sentences.
    """

    rng: np.random.Generator
    lexicon: Lexicon
    terse: bool

    def _frame(self, kind: str, phrase: _Phrase) -> str:
        return pick(self.rng, self.lexicon.frames[kind]).format(
            a=phrase.with_article,
            it=phrase.words,
            **{"is": "are" if phrase.plural else "is", "has": "have" if phrase.plural else "has"},
        )

    def _fill(self, template: str, finding: Finding | None) -> tuple[str, bool]:
        """The template with its slots filled, and whether it speaks of both sides in the plural."""
        if finding is None or "{" not in template:
            return template, False
        size = SEVERITIES[min(2, int(finding.size * 3))]
        both = finding.side == "bilateral"
        mild, mildly = pick(self.rng, self.lexicon.degrees[finding.grade])
        small = pick(self.rng, self.lexicon.sizes[size])
        if self.rng.random() < _DEGREE_LEFT_OUT:
            mild = mildly = small = ""
        words = template.format(
            mild=mild,
            mildly=mildly,
            small=small,
            side=finding.side,
            level=finding.zone,
            zone=f"{finding.zone} {self.lexicon.place}",
            margin=pick(self.rng, ("", *self.lexicon.margins[finding.margin])) if finding.margin else "",
            displaced="displaced" if finding.severity > 0.5 else "nondisplaced",
            lump="mass" if size == "severe" else "nodule",
            s="s" if both else "",
        )
        return " ".join(words.split()), both and "{s}" in template

    def _wording(self, name: str) -> Noun | Clause:
        usual = pick(self.rng, self.lexicon.wordings[name])
        return self.lexicon.unusual.get(name, usual) if self.rng.random() < _UNUSUAL else usual

    def _noun(self, name: str) -> Noun:
        wording = self._wording(name)
        nouns = [option for option in self.lexicon.wordings[name] if isinstance(option, Noun)]
        return wording if isinstance(wording, Noun) else pick(self.rng, nouns)

    def _devices(self, finding: Finding) -> _Phrase:
        if self.rng.random() < 0.25:
            return _phrase(self._noun("Support Devices").full, plural=True)
        nouns = [pick(self.rng, self.lexicon.devices[kind]) for kind in finding.devices]
        return _joined([_phrase(noun.full, noun.plural) for noun in nouns])

    def noun(self, name: str) -> str:
        """A word for a finding, which neither affirms nor denies it."""
        return _phrase(self._noun(name).bare).words

    def affirm(self, name: str, finding: Finding | None, became: str) -> str:
        """It is there, and has become so.

        Args:
            name: What is there.
            finding: Where and how; None where no film shows it.
            became: As :func:`change` says; "" for no comparison.
        """
        before = bool(became) and self.rng.random() < 0.5
        wording = self._wording(name)
        if isinstance(wording, Clause):
            text, before = self._fill(wording.full, finding)[0], False
        else:
            if finding is not None and finding.devices:
                phrase = self._devices(finding)
            else:
                words, plural = self._fill(wording.full, finding)
                phrase = _phrase(words, plural or wording.plural)
            if before:
                prefix = pick(self.rng, self.lexicon.frames[f"{became}, before"])
                phrase = _Phrase(f"{prefix} {phrase.words}", phrase.counted, phrase.plural)
            text = phrase.words if self.terse else self._frame("affirmed", phrase)
        if became and not before:
            text += f", {pick(self.rng, self.lexicon.frames[f'{became}, after'])}"
        return _sentence(text)

    def doubt(self, name: str, finding: Finding | None) -> str:
        """It may be there."""
        wording = self._wording(name)
        if isinstance(wording, Clause):
            return _sentence(" ".join(wording.doubted.format(mildly="", s="").split()))
        phrase = _phrase(wording.bare, wording.plural)
        if finding is not None and finding.side in ("left", "right") and self.rng.random() < 0.5:
            phrase = _Phrase(f"{finding.side} {phrase.words}", phrase.counted, phrase.plural)
        return _sentence(self._frame("doubted", phrase))

    def deny(self, name: str) -> str:
        """It is not there."""
        wording = self._wording(name)
        if isinstance(wording, Clause):
            return _sentence(wording.denied)
        phrase = _phrase(wording.bare, wording.plural)
        return _sentence(f"no {phrase.words}" if self.terse else self._frame("denied", phrase))

    def deny_new(self, name: str) -> str:
        """It is not there, nor was it."""
        return _sentence(f"no new {_phrase(self._noun(name).bare).words}")

    def deny_all(self, names: Sequence[str]) -> str:
        """None of several is there."""
        first, *rest = (_phrase(self._noun(name).bare).words for name in names)
        comma = pick(self.rng, (",", ""))
        them = f"{', '.join([first, *rest[:-1]])}{comma if len(rest) > 1 else ''} or {rest[-1]}"
        return _sentence(pick(self.rng, self.lexicon.frames["listed"]).format(them=them))

    def resolved(self, name: str) -> str:
        """It was there and has gone."""
        noun = self._noun(name)
        kind = "removed" if name == "Support Devices" else "resolved"
        return _sentence(self._frame(kind, _phrase(noun.bare, noun.plural)))

    def say(self, kind: str) -> str:
        """A sentence of no finding."""
        return _sentence(pick(self.rng, self.lexicon.frames[kind]))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
