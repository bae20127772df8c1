"""Labels that stand in a table beside the archive, joined to it by an identifier."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int8

from neuroconcepts_ray.catalog.archive import ABSENT, BLANK, PRESENT, UNCERTAIN, UNLABELLED, choose_labels
from neuroconcepts_ray.errors import ConfigError, InputError

_CODES = {1.0: PRESENT, 0.0: ABSENT, -1.0: UNCERTAIN}
_WHERE = "catalog.labels_file"


@dataclass(frozen=True)
class LabelTable:
    """A table of labels.

    Attributes:
        labels: Names of its label columns.
        codes: One row an identifier, as :class:`~neuroconcepts_ray.catalog.archive.Archive` has them.
        row_of: Row of each identifier.
    """

    labels: list[str]
    codes: Int8[np.ndarray, "m l"]
    row_of: dict[str, int]

    def of(self, ids: Sequence[str]) -> Int8[np.ndarray, "n l"]:
        """The labels of identifiers, in their order; UNLABELLED where the table has no row.

        Args:
            ids: Identifiers, n of them.

        Returns:
            int8 [n, l].
        """
        none = np.full((1, len(self.labels)), UNLABELLED, np.int8)
        rows = np.array([self.row_of.get(identifier, len(self.row_of)) for identifier in ids], np.intp)
        return np.concatenate([self.codes, none])[rows]


def read_labels(path: str, id_column: str, wanted: Sequence[str]) -> LabelTable:
    """Read a csv of labels: 1 present, 0 absent, -1 uncertain, empty not mentioned.

    Args:
        path: The file.
        id_column: The column that holds the identifier; empty: the first one.
        wanted: The label columns in their order; empty: every column but the identifier's.

    Raises:
        ConfigError: No such file or column.
        InputError: An identifier stands there twice, or a label holds another value; no value is quoted.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"the label table cannot be read: {reason}", value=path, where=_WHERE) from None
    except UnicodeDecodeError:
        raise InputError("the label table is not UTF-8", where=_WHERE) from None
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row] or [[]]
    at = header.index(id_column) if id_column in header else 0
    if not header or (id_column and id_column not in header):
        raise ConfigError("the label table lacks the column of identifiers", value=id_column, where=_WHERE)
    if any(len(row) != len(header) for row in rows):
        raise InputError("rows of the label table do not have as many cells as its header", where=_WHERE)
    labels = choose_labels(wanted, [name for place, name in enumerate(header) if place != at])
    row_of = {row[at].strip(): number for number, row in enumerate(rows)}
    if len(row_of) < len(rows):
        raise InputError("identifiers stand in the label table twice", value=len(rows) - len(row_of), limit=0)
    codes = [[_code(row[header.index(label)], label) for label in labels] for row in rows]
    return LabelTable(labels, np.array(codes, np.int8).reshape(len(rows), len(labels)), row_of)


def _code(cell: str, label: str) -> int:
    if not cell.strip():
        return BLANK
    try:
        return _CODES[float(cell)]
    except (ValueError, KeyError):
        raise InputError(
            "a label holds another value",
            value=label,
            limit="1, 0, -1 or blank",
            where=_WHERE,
            remedy="List the columns that are labels in catalog.labels",
        ) from None
