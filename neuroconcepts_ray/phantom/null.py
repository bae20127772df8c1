"""Null archives: labels or reports of strangers, who are drawn by the laws of the world and are in no archive.

What is taken from a stranger has the rates and the wording of the true ones and nothing to do with the film.
"""

from dataclasses import replace
from itertools import count

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.cues import READERS
from neuroconcepts_ray.phantom.draw import Patient, Study, draw_patient
from neuroconcepts_ray.phantom.labeller import label_report
from neuroconcepts_ray.phantom.reports import write_report

# Archives have numbers below 250,000 and at most eight studies a patient; those of twins end below 300,000.
_STRANGERS = {"labels": 1_000_000, "reports": 4_000_000}
_NEXT = 10_000_000


def stranger(config: PhantomConfig, patient: Patient, study: Study, purpose: str) -> tuple[Patient, Study]:
    """Somebody else for one study: for each study another person, for each purpose others again.

    Args:
        config: Of the archive.
        patient: Whose study it is.
        study: The study that gets a stranger; the films' views stay its own.
        purpose: "labels" or "reports".
    """
    first = _STRANGERS[purpose] + 8 * patient.index + study.number
    # A follow-up gets a follow-up, so that comparisons are as frequent as in the archive; which study of a patient it
    # is tells nothing of what is on it. Who has too few studies is passed over.
    drawn = (draw_patient(config, number) for number in count(first, _NEXT))
    other = next(somebody for somebody in drawn if len(somebody.studies) > study.number)
    return other, replace(other.studies[study.number], films=study.films)


def archived_text(config: PhantomConfig, patient: Patient, study: Study) -> str:
    """The report that the archive holds of a study."""
    if config.reports == "independent":
        patient, study = stranger(config, patient, study, "reports")
    return write_report(config, patient, study).text


def archived_labels(config: PhantomConfig, patient: Patient, study: Study) -> dict[str, dict[str, float]]:
    """The labels that the archive holds of a study: reader → label → value, as the reader finds them in the report."""
    if config.labels == "random":
        patient, study = stranger(config, patient, study, "labels")
    text = write_report(config, patient, study).text
    return {reader: label_report(text, reader) for reader in READERS}
