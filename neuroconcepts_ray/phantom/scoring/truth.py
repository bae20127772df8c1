"""The only reader of the truth: what was planted in each film, the masks, and the counterfactual twins."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Shaped
from PIL import Image

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.phantom.truth import FACTORS_OF, KINDS

TWINS = "twins.parquet"
"""In the truth root: which films are twins, and what differs between them."""


@dataclass(frozen=True)
class Truth:
    """What was planted in each film.

    Args:
        image_ids: [n] names of the films.
        factors: The factors, the columns of what follows; :data:`~neuroconcepts_ray.phantom.truth.KINDS` tells the
            kind of each.
        present: [n, f] 1 where the factor is in the film (of an unseen one: is told of it), 0 where it is not, NaN
            where the question has no sense.
        value: [n, f] what a factor of context is ("B", "61", "female"); "" of others.
        side: [n, f] "left", "right", "bilateral" or "".
        zone: [n, f] "upper", "mid", "lower" or "".
        severity: [n, f] from 0 to 1; NaN where absent.
        size: [n, f] from 0 to 1; NaN where absent.
    """

    image_ids: Shaped[np.ndarray, " n"]
    factors: tuple[str, ...]
    present: Float[np.ndarray, "n f"]
    value: Shaped[np.ndarray, "n f"]
    side: Shaped[np.ndarray, "n f"]
    zone: Shaped[np.ndarray, "n f"]
    severity: Float[np.ndarray, "n f"]
    size: Float[np.ndarray, "n f"]

    def rows(self, image_ids: Sequence[str] | Shaped[np.ndarray, " m"]) -> Shaped[np.ndarray, " m"]:
        """Row numbers of some films, in their order.

        Raises:
            InputError: A film is not in the truth.
        """
        at = {str(image_id): row for row, image_id in enumerate(self.image_ids)}
        try:
            return np.array([at[str(image_id)] for image_id in image_ids], dtype=np.int64)
        except KeyError as error:
            raise InputError("the truth does not know this film", value=error.args[0]) from None

    def planted(
        self, image_ids: Sequence[str] | Shaped[np.ndarray, " m"], kind: str = "finding"
    ) -> dict[str, Bool[np.ndarray, " m"]]:
        """Factor of a kind → whether it is there, for some films in their order; a question without sense is False."""
        rows = self.rows(image_ids)
        return {
            name: self.present[rows, column] == 1 for column, name in enumerate(self.factors) if KINDS[name] == kind
        }


def _parts(truth_root: Path) -> list[Path]:
    parts = sorted(Path(truth_root).glob("truth-*.parquet"))
    if not parts:
        raise InputError("there is no truth here", where="truth_root", remedy="Write the phantom first")
    return parts


def load_truth(truth_root: Path) -> Truth:
    """Read the truth without its masks.

    Raises:
        InputError: There is none.
    """
    columns = ["image_id", "factor", "present", "value", "side", "zone", "severity", "size"]
    names: list[str] = []
    cells: dict[str, list[object]] = {column: [] for column in columns[2:]}
    factors: tuple[str, ...] = ()
    for part in _parts(truth_root):
        table = pq.read_table(part, columns=columns).to_pydict()
        first = table["image_id"][0]
        here = tuple(f for f, image_id in zip(table["factor"], table["image_id"], strict=True) if image_id == first)
        factors = factors or here
        if here != factors or factors not in map(tuple, FACTORS_OF.values()):
            raise InputError("the truth lists other factors than this version plants", where="truth_root")
        names += table["image_id"][:: len(factors)]
        for column, values in cells.items():
            values += table[column]
    shape = (len(names), len(factors))

    def text(column: str) -> Shaped[np.ndarray, "n f"]:
        return np.array([value or "" for value in cells[column]], dtype=str).reshape(shape)

    def number(column: str) -> Float[np.ndarray, "n f"]:
        return np.array([np.nan if v is None else v for v in cells[column]], dtype=np.float64).reshape(shape)

    return Truth(
        np.array(names, dtype=str), factors, number("present"), text("value"), text("side"), text("zone"),
        number("severity"), number("size"),
    )  # fmt: skip


def load_masks(truth_root: Path, factor: str) -> Iterator[tuple[str, Bool[np.ndarray, "h w"]]]:
    """The masks of one factor: (image_id, mask) of each film that shows it."""
    for part in _parts(truth_root):
        table = pq.read_table(part, columns=["image_id", "mask"], filters=[("factor", "=", factor)])
        for image_id, data in zip(table["image_id"].to_pylist(), table["mask"].to_pylist(), strict=True):
            if data is not None:
                yield image_id, np.asarray(Image.open(io.BytesIO(data)), dtype=bool)


@dataclass(frozen=True)
class Twins:
    """Pairs of films that are alike but for one factor.

    Args:
        factor: [p] what differs.
        without: [p] name of the film that lacks it.
        having: [p] name of the film that has it.
    """

    factor: Shaped[np.ndarray, " p"]
    without: Shaped[np.ndarray, " p"]
    having: Shaped[np.ndarray, " p"]

    @property
    def films(self) -> list[str]:
        """All films, in the order of their names."""
        return sorted({*self.without.tolist(), *self.having.tolist()})


def load_twins(truth_root: Path) -> Twins:
    """Read which films are twins.

    Raises:
        InputError: The archive was written without any.
    """
    path = Path(truth_root) / TWINS
    if not path.exists():
        raise InputError("there are no twins here", where="truth_root", remedy="Write the phantom with --set twins=…")
    table = pq.read_table(path, columns=["factor", "without", "with"])
    return Twins(*(np.array(table[name].to_pylist(), dtype=str) for name in ("factor", "without", "with")))
