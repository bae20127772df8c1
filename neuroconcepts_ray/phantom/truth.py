"""What the truth says of each film: one row a film and factor, in a place that no run reads."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Bool
from PIL import Image

from neuroconcepts_ray.phantom.draw import Film, Patient, Study
from neuroconcepts_ray.phantom.eyes import DUST, GLAUCOMA, PRESSURE, SHADOW, SIGNS, SILENT
from neuroconcepts_ray.phantom.lesions import ARTEFACTS, DIAGNOSES, RULER, STRUCTURES
from neuroconcepts_ray.phantom.mammograms import DISTRIBUTIONS, MARGINS, SCANNER, SCRATCH, SHAPES, TYPES
from neuroconcepts_ray.phantom.mammograms import SILENT as NODES_AND_ARTERIES
from neuroconcepts_ray.phantom.world import DEVICES, FINDINGS, SHORTCUTS, UNREPORTED, UNSEEN

SPICULATED = "Lung Lesion, spiculated"
TEXT = "Text"


@dataclass(frozen=True)
class Told:
    """What the truth says of one factor of one image; see :data:`SCHEMA`."""

    present: bool | None = None
    value: str | None = None
    side: str | None = None
    zone: str | None = None
    severity: float | None = None
    size: float | None = None


FACTORS: dict[str, str] = (
    dict.fromkeys(FINDINGS, "finding")
    | dict.fromkeys(UNSEEN, "unseen")
    | dict.fromkeys(UNREPORTED, "unreported")
    | {SPICULATED: "attribute"}
    | {device: "attribute" for device in DEVICES}
    | dict.fromkeys(SHORTCUTS, "shortcut")
    | {TEXT: "artefact", "site": "context", "age": "context", "sex": "context", "race": "context"}
)
"""Factor → kind, in the order of the rows of each film.

finding: labelled where the report tells of it. unseen: told by reports, on no film. unreported: on films, told by no
report. attribute: how a finding looks, told in no label. shortcut: tied to a finding. artefact: tied to nothing.
context: of the patient or the place; its ``value`` counts.
"""

SKIN_FACTORS: dict[str, str] = (
    dict.fromkeys(DIAGNOSES, "finding")
    | dict.fromkeys(STRUCTURES, "attribute")
    | {RULER: "shortcut"}
    | dict.fromkeys(ARTEFACTS, "artefact")
    | dict.fromkeys(("lesion", "age", "sex", "localization", "tone"), "context")
)
"""Factors of the layout ``ham10000``."""

FUNDUS_FACTORS: dict[str, str] = (
    {GLAUCOMA: "finding"}
    | dict.fromkeys(SIGNS, "attribute")
    | dict.fromkeys(SILENT, "unreported")
    | {PRESSURE: "unseen", SHADOW: "shortcut", DUST: "artefact"}
    | dict.fromkeys(("cup-to-disc", "eye", "age", "sex", "race", "ethnicity", "language"), "context")
)
"""Factors of the layout ``fairvlmed``."""

BREAST_FACTORS: dict[str, str] = (
    {"benign": "finding", "cancer": "finding", "mass": "attribute", "calcification": "attribute"}
    | {f"mass {word.lower()}": "attribute" for word in (*SHAPES, *MARGINS)}
    | {f"calcification {word.lower()}": "attribute" for word in (*TYPES, *DISTRIBUTIONS)}
    | dict.fromkeys(NODES_AND_ARTERIES, "unreported")
    | {SCANNER: "shortcut", SCRATCH: "artefact"}
    | dict.fromkeys(("case", "pathology", "view", "density", "age"), "context")
)
"""Factors of the layout ``ddsm``: benign and cancer are on this very film, pathology is what the case is called."""

FACTORS_OF: dict[str, dict[str, str]] = {
    "mimic-cxr-jpg": FACTORS,
    "r2gen": FACTORS,
    "ddsm": BREAST_FACTORS,
    "ham10000": SKIN_FACTORS,
    "fairvlmed": FUNDUS_FACTORS,
}
"""Layout → its factors. A factor that two layouts have is of one kind in both."""

KINDS: dict[str, str] = {factor: kind for factors in FACTORS_OF.values() for factor, kind in factors.items()}
"""Factor of any layout → kind."""

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("study_id", pa.int64()),
        ("factor", pa.string()),
        ("kind", pa.string()),
        ("present", pa.bool_()),
        ("value", pa.string()),
        ("side", pa.string()),
        ("zone", pa.string()),
        ("severity", pa.float32()),
        ("size", pa.float32()),
        ("bbox", pa.list_(pa.int32())),
        ("mask", pa.binary()),
    ],
    metadata={
        "present": "null where the question has no sense: a lesion's margin without a lesion, an age",
        "value": "of context only",
        "bbox": "first column, first row, last column + 1, last row + 1; null where nothing of the factor shows",
        "mask": "PNG of one bit, as large as the film",
    },
)


def _others(patient: Patient, study: Study, film: Film) -> dict[str, bool | str | None]:
    found = {finding.name: finding for finding in study.findings}
    lesion, devices = found.get("Lung Lesion"), found.get("Support Devices")
    told: dict[str, bool | str | None] = {name: name in study.others for name in (*UNSEEN, *UNREPORTED, *SHORTCUTS)}
    told[SPICULATED] = None if lesion is None else lesion.margin == "spiculated"
    told |= {device: devices is not None and device in devices.devices for device in DEVICES}
    told |= {TEXT: film.text, "site": study.site, "age": str(patient.age), "sex": patient.sex, "race": patient.race}
    return told


def truth_rows(
    patient: Patient, study: Study, film: Film, masks: dict[str, Bool[np.ndarray, "h w"]]
) -> Iterator[dict[str, object]]:
    """The rows of one film.

    Args:
        patient: Whose film it is.
        study: What is there.
        film: The film.
        masks: Factor → the pixels that it occupies; a factor that leaves no trace on the film has none.
    """
    found = {finding.name: finding for finding in study.findings}
    others = _others(patient, study, film)
    for factor, kind in FACTORS.items():
        row: dict[str, object] = {
            "image_id": film.dicom_id, "study_id": study.study_id, "factor": factor, "kind": kind,
        }  # fmt: skip
        if kind == "finding":
            finding = found.get(factor)
            row["present"] = finding is not None
            if finding is not None:
                row |= {name: getattr(finding, name) for name in ("side", "zone", "severity", "size")}
        elif kind == "context":
            row["value"] = others[factor]
        else:
            row["present"] = others[factor]
        if factor in masks:
            row |= {"bbox": bbox(masks[factor]), "mask": png(masks[factor])}
        yield row


def told_rows(
    image_id: str,
    study_id: int,
    factors: Mapping[str, str],
    told: Mapping[str, Told],
    masks: Mapping[str, Bool[np.ndarray, "h w"]],
) -> Iterator[dict[str, object]]:
    """The rows of one image of another layout.

    Args:
        image_id: What the adapter calls the image, or hashes.
        study_id: Number of what the images of one study share.
        factors: The layout's factors with their kinds.
        told: What is told of each factor.
        masks: Factor → the pixels that it occupies.
    """
    for factor, kind in factors.items():
        row: dict[str, object] = {"image_id": image_id, "study_id": study_id, "factor": factor, "kind": kind}
        row |= asdict(told[factor])
        if factor in masks:
            row |= {"bbox": bbox(masks[factor]), "mask": png(masks[factor])}
        yield row


def bbox(mask: Bool[np.ndarray, "h w"]) -> list[int] | None:
    """First column, first row, last column + 1, last row + 1 of a mask; None of an empty one."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1] if len(ys) else None


def png(mask: Bool[np.ndarray, "h w"]) -> bytes:
    """A mask as a PNG of one bit."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()
