"""The whole procedure: one study per patient, terms, candidates, held-out test; and again on shuffled reports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Shaped
from scipy import sparse

from neuroconcepts_ray.naming import associate
from neuroconcepts_ray.naming.config import NamesConfig
from neuroconcepts_ray.naming.ranks import Ranks, study_maxima
from neuroconcepts_ray.naming.text import Polarity, terms
from neuroconcepts_ray.naming.vocabulary import Term, presence, vocabulary


def one_study_per_group(
    studies: Shaped[np.ndarray, " m"], groups: Shaped[np.ndarray, " m"], eligible: Callable[[str], bool]
) -> tuple[list[str], Int[np.ndarray, " m"]]:
    """One study of each patient, and for each film the row of its study (−1 if that was not chosen).

    The choice is the smallest keyed hash among the eligible studies: arbitrary, blind to content, always the same.
    """
    chosen: dict[str, str] = {}
    for study, group in zip(studies.tolist(), groups.tolist(), strict=True):
        if eligible(study) and (group not in chosen or study < chosen[group]):
            chosen[group] = study
    order = sorted(chosen.values())
    row = {study: at for at, study in enumerate(order)}
    return order, np.array([row.get(study, -1) for study in studies.tolist()], dtype=np.int64)


@dataclass(frozen=True)
class Evidence:
    """One role's material: neurons' values and terms over studies, one study per patient."""

    values: sparse.csr_array
    present: sparse.csr_array
    ranks: Ranks

    @classmethod
    def of(cls, values: sparse.csr_array, present: sparse.csr_array) -> "Evidence":
        """With the ranks of the values."""
        return cls(values, present, Ranks.of(values))

    def shuffled(self, rng: np.random.Generator) -> "Evidence":
        """The same with the reports dealt to other patients: any association left is chance."""
        return Evidence(self.values, self.present[rng.permutation(self.present.shape[0])], self.ranks)


def name_neurons(probe: Evidence, verify: Evidence, words: Sequence[Term], config: NamesConfig) -> associate.Held:
    """Find a candidate per neuron on ``probe``, hold it on ``verify``."""
    found = associate.find(probe.ranks, probe.present, q=config.q, min_groups=config.min_groups)
    candidates = associate.choose(found, words)
    return associate.hold(
        verify.ranks,
        verify.values,
        verify.present,
        candidates,
        q=config.q,
        min_auroc=config.min_auroc,
        draws=config.draws,
        seed=config.seed,
    )


def shuffled_names(probe: Evidence, verify: Evidence, words: Sequence[Term], config: NamesConfig) -> int:
    """Neurons named over all ``config.shuffles`` repetitions on shuffled reports: what chance gives."""
    given = 0
    for repetition in range(config.shuffles):
        rng = np.random.default_rng([config.seed, repetition])
        given += int(name_neurons(probe.shuffled(rng), verify.shuffled(rng), words, config).passed.sum())
    return given


def gather(
    codes: sparse.csr_array,
    studies: Shaped[np.ndarray, " m"],
    groups: Shaped[np.ndarray, " m"],
    roles: Shaped[np.ndarray, " m"],
    reports: Mapping[str, str],
    config: NamesConfig,
) -> tuple[Evidence, Evidence, list[Term]]:
    """From films and reports to the evidence of both roles and the terms to try.

    Args:
        codes: Activations of the films, [m, n].
        studies: Study of each film.
        groups: Patient of each film.
        roles: Role of each film.
        reports: What the report observes, by study.
        config: Settings.

    Returns:
        Evidence of ``probe`` and of ``verify``, and the terms: frequent on ``probe``, testable on ``verify``. That a
        term is testable depends on its count there alone, which says nothing about any neuron.
    """
    values: dict[str, sparse.csr_array] = {}
    parsed: dict[str, list[dict[str, Polarity]]] = {}
    for role in ("probe", "verify"):
        films = np.flatnonzero(roles == role)
        chosen, row = one_study_per_group(studies[films], groups[films], lambda study: bool(reports.get(study)))
        values[role] = study_maxima(codes[films], row, len(chosen))
        parsed[role] = [terms(reports[study], config.max_words + 1) for study in chosen]
    words = vocabulary(
        parsed["probe"], min_groups=config.min_groups, max_terms=config.max_terms, max_words=config.max_words
    )
    there = presence(parsed["verify"], words)
    count = there.sum(axis=0)
    testable = (count >= config.min_positives) & (there.shape[0] - count >= config.min_positives)
    words = [term for term, yes in zip(words, testable, strict=True) if yes]
    probe, verify = (Evidence.of(values[role], presence(parsed[role], words)) for role in ("probe", "verify"))
    return probe, verify, words
