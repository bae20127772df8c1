"""Labels that stand in a table beside the archive, joined to its images by an identifier."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Int8

from neuroconcepts_ray.catalog.archive import UNLABELLED, choose_labels
from neuroconcepts_ray.catalog.sheets import column, headings, label_codes, read_beside, read_sheet
from neuroconcepts_ray.errors import ConfigError, InputError

WHERE = "catalog.labels_file"


def join_labels(
    uri: str, ids: Mapping[str, Sequence[str]], wanted: Sequence[str], others: Iterable[str] = ()
) -> tuple[list[str], Int8[np.ndarray, "n l"], int]:
    """Labels of images from a table of 1, 0, -1 or blank.

    Args:
        uri: The table, a path or URI.
        ids: Names that its column of identifiers may have, the finest first, each with those of the n images.
        wanted: The columns that are labels, in their order; empty: all but ``ids`` and ``others``.
        others: Columns that are neither.

    Returns:
        Names of the labels; int8 [n, l], UNLABELLED where the table has no row; how many rows speak of no image.

    Raises:
        ConfigError: No such table, label or column of identifiers.
        InputError: It is damaged, an identifier stands there twice, none speaks of an image, or a label holds another
            value.
    """
    sheet = read_sheet(read_beside(uri, WHERE), WHERE)
    by = next((name for name in ids if name in sheet.column_names), None)
    if by is None:
        raise ConfigError(
            "the labels' table has no column of ids",
            value=headings(sheet),
            limit=" or ".join(ids),
            where=WHERE,
        )
    labels = choose_labels(wanted, [name for name in sheet.column_names if name not in (*ids, *others)])
    known = column(sheet, by, WHERE)
    row_of = {name: row for row, name in enumerate(known)}
    if len(row_of) < len(known):
        raise InputError("ids stand in the labels' table twice", value=len(known) - len(row_of), limit=0, where=WHERE)
    # One row more than the table: the one that images without a row point to.
    codes = np.full((len(known) + 1, len(labels)), UNLABELLED, dtype=np.int8)
    for place, label in enumerate(labels):
        codes[:-1, place] = label_codes(column(sheet, label, WHERE), label, WHERE)
    rows = np.array([row_of.get(name, len(known)) for name in ids[by]], dtype=np.intp)
    if len(rows) and (rows == len(known)).all():
        raise InputError("the labels' table knows none of the images", value=f"column {by}", where=WHERE)
    return labels, codes[rows], len(known) - len(set(rows.tolist()) - {len(known)})
