"""The only reader of the truth: how much of what was planted do neurons, names and pixels give back?

Pure functions over plain arrays; only :func:`load_truth` and :func:`load_masks` touch files.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Shaped
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.phantom.reports import denotes
from neuroconcepts_ray.phantom.truth import FACTORS_OF, KINDS
from neuroconcepts_ray.stats import MIN_EVALUABLE, auroc, auroc_table, evaluable

RIGHT_AUROC = 0.6
"""A name is right if its neuron tells the finding it denotes at least so well on role test."""


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
class Recovered:
    """How well the best single neuron tells one finding, against a linear probe on all activations.

    Args:
        neuron: The neuron with the greatest AUROC on role select.
        auroc: Its AUROC on role test.
        probe: The probe's AUROC on role test.
        share: (auroc − .5) / (probe − .5).
        positives: Films of role test with the finding.
        n: Films of role test.
    """

    neuron: int
    auroc: float
    probe: float
    share: float
    positives: int
    n: int


def recovery(
    scores: Float[np.ndarray, "n m"],
    probe_activations: Float[np.ndarray, "n d"],
    planted: Mapping[str, Bool[np.ndarray, " n"]],
    roles: Shaped[np.ndarray, " n"],
    *,
    least: int = MIN_EVALUABLE,
    strength: float = 0.01,
) -> dict[str, Recovered | None]:
    """What single neurons recover of each planted finding, as a share of what a linear probe can.

    The neuron is chosen on role select (more activation must mean more finding) and scored on role test. The probe is
    an L2 logistic regression on the standardised activations, fitted on the roles fit and probe.

    Args:
        scores: Codes of n films over m neurons.
        probe_activations: What the probe may use: the activations that the neurons are made of.
        planted: Finding → whether it is there.
        roles: Role of each film.
        least: Fewest positives and negatives, in select and in test.
        strength: The probe's C.

    Returns:
        Finding → figures; None where it is not evaluable.
    """
    select, test = roles == "select", roles == "test"
    fitted = probes(probe_activations, planted, roles, strength=strength)
    out: dict[str, Recovered | None] = {}
    for name, there in planted.items():
        if not (evaluable(there[select], least) and evaluable(there[test], least)) or name not in fitted:
            out[name] = None
            continue
        neuron = int(np.argmax(auroc_table(scores[select], there[select][:, None])[:, 0]))
        found = auroc(scores[test, neuron], there[test])
        ceiling = auroc(fitted[name][test], there[test])
        share = (found - 0.5) / (ceiling - 0.5) if ceiling > 0.5 else float("nan")
        out[name] = Recovered(neuron, found, ceiling, share, int(there[test].sum()), int(test.sum()))
    return out


def probes(
    activations: Float[np.ndarray, "n d"],
    labels: Mapping[str, Bool[np.ndarray, " n"]],
    roles: Shaped[np.ndarray, " n"],
    *,
    strength: float = 0.01,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Linear probes fitted on fit and probe: label → score of every film; labels of one class only are left out."""
    train = np.isin(roles, ("fit", "probe"))
    out = {}
    for name, there in labels.items():
        if np.unique(there[train]).size == 2:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
            out[name] = model.fit(activations[train], there[train]).decision_function(activations)
    return out


def pixel_linear_auroc(
    pixels: Float[np.ndarray, "n p"],
    y: Float[np.ndarray, "n l"],
    labels: Sequence[str],
    roles: Shaped[np.ndarray, " n"],
    *,
    least: int = MIN_EVALUABLE,
    strengths: Sequence[float] = (1e-3, 1e-2, 1e-1),
) -> tuple[float, dict[str, float | None]]:
    """The black box's control: L2 logistic regression on small films (see :func:`thumbnails`), on the same labels.

    Its strength is chosen per label on role select, as the black box's epoch is: the control is given its chance.

    Args:
        pixels: Flattened small films.
        y: Labels: 1, 0, NaN = masked.
        labels: Names of the columns of ``y``.
        roles: Role of each film.
        least: Fewest positives and negatives in role test.
        strengths: Values of C to choose from.

    Returns:
        Macro AUROC over the evaluable labels on role test, and the AUROC of each label (None: not evaluable).
    """
    table: dict[str, float | None] = {}
    train = np.isin(roles, ("fit", "probe"))
    scaled = StandardScaler().fit(pixels[train]).transform(pixels)
    for column, name in enumerate(labels):
        known = ~np.isnan(y[:, column])
        there = y[:, column] == 1
        rows = {
            role: known & part for role, part in (("t", train), ("s", roles == "select"), ("test", roles == "test"))
        }
        if not evaluable(there[rows["test"]], least) or np.unique(there[rows["t"]]).size < 2:
            table[name] = None
            continue
        best = (-np.inf, float("nan"))
        for strength in strengths:
            model = LogisticRegression(C=strength, max_iter=2000).fit(scaled[rows["t"]], there[rows["t"]])
            score = model.decision_function(scaled)
            chosen = auroc(score[rows["s"]], there[rows["s"]])
            chosen = 0.0 if np.isnan(chosen) else chosen
            if chosen > best[0]:
                best = (chosen, auroc(score[rows["test"]], there[rows["test"]]))
        table[name] = best[1]
    values = [value for value in table.values() if value is not None]
    return (float(np.mean(values)) if values else float("nan")), table


def thumbnails(films: Sequence[Shaped[np.ndarray, "h w"]], side: int = 32) -> Float[np.ndarray, "n p"]:
    """Grey films shrunk to ``side`` × ``side`` by averaging, flattened, from 0 to 1."""
    small = [np.asarray(Image.fromarray(film).resize((side, side), Image.Resampling.BOX)) for film in films]
    return np.stack(small).reshape(len(films), -1).astype(np.float64) / 255


@dataclass(frozen=True)
class GivenName:
    """The name that some neuron was given; polarity "absent" means that it fires where the thing is not."""

    neuron: int
    name: str
    polarity: str


@dataclass(frozen=True)
class NamesRight:
    """How many names are right, and the neurons whose names are not."""

    given: int
    right: int
    wrong: tuple[int, ...]


def names_right(
    names: Sequence[GivenName],
    scores: Float[np.ndarray, "n m"],
    planted: Mapping[str, Bool[np.ndarray, " n"]],
    roles: Shaped[np.ndarray, " n"],
    *,
    at_least: float = RIGHT_AUROC,
) -> NamesRight:
    """Check names against the truth on role test.

    A name is right if its words denote planted findings and the neuron's AUROC for each of them is at least
    ``at_least`` in the name's polarity. "No Finding" is true of a film with nothing but support devices.

    Args:
        names: The names given.
        scores: Codes of n films over m neurons.
        planted: Finding → whether it is there.
        roles: Role of each film.
        at_least: Least AUROC.
    """
    test = roles == "test"
    truth = dict(planted)
    sick = [there for name, there in planted.items() if name != "Support Devices"]
    truth["No Finding"] = ~np.any(sick, axis=0)
    wrong = []
    for given in names:
        told = []
        for finding, positive in denotes(given.name).items():
            if finding in truth:
                value = auroc(scores[test, given.neuron], truth[finding][test])
                told.append(value if positive is (given.polarity == "present") else 1 - value)
        # NaN (a class is absent) is not at least anything.
        if not told or not all(value >= at_least for value in told):
            wrong.append(given.neuron)
    return NamesRight(len(names), len(names) - len(wrong), tuple(wrong))
