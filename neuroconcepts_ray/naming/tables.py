"""The table of names: one row per neuron, and its reader."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest

if TYPE_CHECKING:
    # Of the writer alone: a search reads names, and must not wait for scipy's statistics.
    from neuroconcepts_ray.naming.associate import Held

FILE = "names.parquet"

SCHEMA = pa.schema(
    [
        pa.field("neuron", pa.uint32(), nullable=False),
        ("name", pa.string()),
        ("polarity", pa.string()),
        ("q", pa.float64()),
        ("auroc", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("positives", pa.int64()),
        ("n", pa.int64()),
        ("evidence", pa.int64()),
        ("candidate", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
    ]
)
"""``name`` is null for an unnamed neuron, whose ``candidate`` and figures, if any, say what was tried and failed.
``q``, ``auroc`` with its interval, ``positives`` and ``n`` are of the test on ``verify`` (studies, one per patient);
``evidence`` counts the studies of ``probe`` that have the term."""

HELD = "held"
"""The reason of a name; every other reason says why a neuron is unnamed."""


@dataclass(frozen=True)
class Name:
    """What a neuron is called, and the figures that the name stands on.

    Attributes:
        neuron: The neuron.
        name: What it is called; "no <term>" where it answers to an absence.
        polarity: Whether it answers to the presence or to the absence of the term.
        auroc: Activation → term on ``verify``.
        low: Lower bound of its 95 % interval over patients.
        high: Upper bound.
        q: False discovery rate at which it holds.
        positives: Studies of ``verify`` with the term, one per patient.
        n: Studies of ``verify`` in all.
        evidence: Studies of ``probe`` with the term.
    """

    neuron: int
    name: str
    polarity: Literal["present", "absent"]
    auroc: float
    low: float
    high: float
    q: float
    positives: int
    n: int
    evidence: int


def names_table(
    neurons: int,
    held: "Held | None",
    names: list[str],
    polarities: list[str],
    evidence: list[int],
    studies: int,
    reasons: list[str],
) -> pa.Table:
    """The rows of all neurons.

    Args:
        neurons: Number of neurons.
        held: The tested ones; None where nothing could be tested.
        names: What each tested neuron's candidate is called.
        polarities: The polarity of each tested neuron's candidate.
        evidence: Studies of ``probe`` with it.
        studies: Studies of ``verify``.
        reasons: Why each of all neurons is named or not.
    """
    columns: dict[str, list[object]] = {field.name: [None] * neurons for field in SCHEMA}
    columns["neuron"] = list(range(neurons))
    columns["reason"] = list(reasons)
    for at, j in enumerate([] if held is None else held.neuron.tolist()):
        assert held is not None  # noqa: S101 - for the type checker
        columns["candidate"][j] = names[at]
        if held.passed[at]:
            columns["name"][j] = names[at]
            columns["polarity"][j] = polarities[at]
        for field in ("q", "auroc", "low", "high"):
            value = float(getattr(held, field)[at])
            columns[field][j] = None if np.isnan(value) else value
        columns["positives"][j] = int(held.positives[at])
        columns["n"][j] = studies
        columns["evidence"][j] = evidence[at]
    return pa.table(columns, schema=SCHEMA)


def load_names(lake: Lake, manifest: Manifest) -> dict[int, Name]:
    """The names of a space by neuron; a neuron without a name that held is absent.

    Raises:
        InputError: The table is missing.
        DigestError: It was altered.
    """
    fields = ["neuron", "name", "polarity", "auroc", "low", "high", "q", "positives", "n", "evidence"]
    rows = lake.table(manifest.part(FILE), fields).to_pylist()
    return {row["neuron"]: Name(**row) for row in rows if row["name"] is not None}
