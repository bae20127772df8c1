"""The image table of an index: what a row number of the postings stands for."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Shaped

POSTINGS = "postings.faiss"
IMAGES = "images.parquet"

SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("image_id", "study", "group", "view", "role")]
    + [pa.field("norm", pa.float64(), nullable=False)]
)
"""Rows are in the order of the postings' ids; ``norm`` is the Euclidean length of the image's code."""


@dataclass(frozen=True)
class Images:
    """The images of an index, in row order.

    Attributes:
        image_ids: One per image.
        studies: Keyed hash of the study.
        groups: Keyed hash of the patient.
        views: Such as ``AP``.
        roles: One of fit, probe, select, verify, test.
        norms: Length of the code.
    """

    image_ids: Shaped[np.ndarray, " m"]
    studies: Shaped[np.ndarray, " m"]
    groups: Shaped[np.ndarray, " m"]
    views: Shaped[np.ndarray, " m"]
    roles: Shaped[np.ndarray, " m"]
    norms: Float[np.ndarray, " m"]

    def __len__(self) -> int:
        return len(self.image_ids)

    def to_table(self) -> pa.Table:
        """As the index keeps it."""
        columns = (self.image_ids, self.studies, self.groups, self.views, self.roles)
        return pa.table([*(pa.array(column.tolist(), pa.string()) for column in columns), self.norms], schema=SCHEMA)

    @classmethod
    def from_table(cls, table: pa.Table) -> "Images":
        """Read back :meth:`to_table`."""
        ids, studies, groups, views, roles = (
            np.array(table[name].to_pylist(), dtype=np.str_) for name in SCHEMA.names[:5]
        )
        return cls(ids, studies, groups, views, roles, table["norm"].to_numpy())
