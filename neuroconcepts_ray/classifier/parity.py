"""Whether an imported classifier says what the original said: logits of reference images and of reference tensors.

Reference images go through this project's decoding and preprocessing and the network; reference tensors, which are what
the original network was given, through the network alone. Together they tell which of the two differs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load_file

from neuroconcepts_ray.classifier.backbones import near
from neuroconcepts_ray.classifier.model import Classifier
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.imaging.decode import Undecodable
from neuroconcepts_ray.imaging.load import load_pixels

BATCH = 16
"""Images of a forward pass."""

TRIED = 8
"""Images with which other preprocessing is tried, where the given one differs."""

NORMS: Mapping[str, tuple[list[float], list[float]]] = {
    "ImageNet's mean and std": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    "mean 0.5 and std 0.5": ([0.5], [0.5]),
    "mean 0 and std 1": ([0.0], [1.0]),
}
"""Normalisations that are common, by what to call them."""


@dataclass(frozen=True)
class Reference:
    """What the original says.

    Attributes:
        files: One image file a row; or none.
        x: Or one input a row, as the network takes it.
        logits: Its logits, one column a label.
    """

    files: list[Path]
    x: Float[np.ndarray, "n i s s"] | None
    logits: Float[np.ndarray, "n l"]


@dataclass(frozen=True)
class Parity:
    """How far logits are from those of a reference.

    Attributes:
        rows: Images or tensors compared.
        largest: Largest |difference| of each label; NaN where a logit is not finite.
        mean: Mean |difference| of each label.
    """

    rows: int
    largest: Float[np.ndarray, " l"]
    mean: Float[np.ndarray, " l"]

    @classmethod
    def of(cls, found: Float[np.ndarray, "n l"], expected: Float[np.ndarray, "n l"]) -> "Parity":
        """|found − expected| over the rows, in float64."""
        off = np.abs(found.astype(np.float64) - expected.astype(np.float64))
        return cls(len(off), off.max(axis=0), off.mean(axis=0))

    @property
    def worst(self) -> int:
        """The label that differs most."""
        return int(np.argmax(np.where(np.isnan(self.largest), np.inf, self.largest)))

    def within(self, tolerance: float) -> bool:
        """Whether every logit is; what is not finite never is."""
        return bool((self.largest <= tolerance).all())

    def to_dict(self, labels: Sequence[str]) -> dict[str, Any]:
        """As plain data."""
        columns = zip(labels, self.largest.tolist(), self.mean.tolist(), strict=True)
        return {"rows": self.rows, "labels": {label: {"max": most, "mean": mean} for label, most, mean in columns}}


def read_table(path: Path, images: Path, image_column: str, labels: Sequence[str]) -> Reference:
    """A reference table: an image file and the original's logits in every row.

    Args:
        path: CSV or Parquet.
        images: Folder that the image files are relative to.
        image_column: Name of the column of files.
        labels: Names of the columns of logits.

    Raises:
        ConfigError: No such file, or a column is missing.
        InputError: It is no table, has no rows, or a logit is no finite number.
    """
    _exists(path)
    try:
        table = pa.parquet.read_table(path) if path.read_bytes()[:4] == b"PAR1" else pa.csv.read_csv(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError("the reference is neither CSV nor Parquet", value=path.name, where="--reference") from error
    for column in (image_column, *labels):
        if table.column_names.count(column) != 1:
            raise ConfigError(
                "the reference table lacks a column, or has it twice",
                value=column,
                where="--reference",
                remedy=f"It needs {image_column} (--image-column) and every label. {near(column, table.column_names)}",
            )
    try:
        columns = [table[label].cast(pa.float64()).to_numpy(zero_copy_only=False) for label in labels]
    except pa.ArrowInvalid as error:
        raise InputError("a logit of the reference table is no number", where="--reference") from error
    logits = np.stack(columns, axis=1).astype(np.float64)
    _check_logits(logits, "--reference")
    names = table[image_column].cast(pa.string()).to_pylist()
    if None in names:
        raise InputError("a row has no image file", value=f"row {names.index(None) + 1}", where="--reference")
    return Reference([images / name for name in names], None, logits)


def read_tensors(path: Path, outputs: int) -> Reference:
    """Reference tensors: ``x`` [n, channels, size, size] as the network takes it, and its ``logits`` [n, labels].

    Args:
        path: ``.npz`` or ``.safetensors``.
        outputs: Number of labels.

    Raises:
        ConfigError: No such file, or one of the two is missing or of another shape.
        InputError: It cannot be read, or a value is not finite.
    """
    where = "--reference-tensors"
    _exists(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        else:
            arrays = load_file(path)
    except (SafetensorError, ValueError, OSError, EOFError, KeyError) as error:
        raise InputError("the reference tensors cannot be read", value=path.name, where=where) from error
    except Exception as error:  # zipfile.BadZipFile, zlib.error and others of a damaged archive
        raise InputError("the reference tensors are damaged", value=path.name, where=where) from error
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if "x" not in arrays or "logits" not in arrays:
        raise ConfigError("the reference tensors must be named x and logits", value=shapes, where=where)
    x, logits = arrays["x"], arrays["logits"]
    if x.ndim != 4 or logits.shape != (len(x), outputs) or x.shape[2] != x.shape[3]:
        raise ConfigError(
            "the reference tensors have other shapes",
            value=shapes,
            limit=f"x [n, channels, size, size], logits [n, {outputs}]",
            where=where,
        )
    _check_logits(logits, where)
    return Reference([], np.ascontiguousarray(x, dtype=np.float32), logits.astype(np.float64))


def _exists(path: Path) -> None:
    if not path.is_file():
        raise ConfigError("the reference does not exist", value=path.name)


def _check_logits(logits: Float[np.ndarray, "n l"], where: str) -> None:
    if not len(logits):
        raise InputError("the reference has no rows", where=where)
    bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(bad):
        raise InputError("a logit of the reference is missing or not finite", value=f"row {bad[0] + 1}", where=where)


def of_tensors(model: Classifier, reference: Reference) -> Parity:
    """The network alone: float32, no preprocessing.

    Raises:
        ConfigError: The inputs are not of the network's shape.
    """
    assert reference.x is not None  # noqa: S101 - read_tensors gives it
    size, shape = model.card.pixels.size, reference.x.shape[1:]
    if shape != (model.channels, size, size):
        raise ConfigError(
            "the reference tensors are not what the network takes",
            value=list(shape),
            limit=[model.channels, size, size],
            where="--reference-tensors",
            remedy="Give --size and the network they were made with",
        )
    return Parity.of(_logits(model, _batches(reference.x)), reference.logits)


def of_images(model: Classifier, reference: Reference, pixels: PixelConfig, rows: int | None = None) -> Parity:
    """Decoding, preprocessing and network together.

    Args:
        model: The classifier.
        reference: With files.
        pixels: How films become pixels.
        rows: How many from the start; all where None.

    Raises:
        InputError: An image is missing or does not decode; says which row, for a path may tell a patient.
    """
    files = reference.files[:rows]

    def films() -> Iterator[torch.Tensor]:
        for start in range(0, len(files), BATCH):
            some = [_film(files[at], at, pixels) for at in range(start, min(start + BATCH, len(files)))]
            yield model.normalise(torch.from_numpy(np.stack(some)).float() / 255)

    return Parity.of(_logits(model, films()), reference.logits[:rows])


def _film(path: Path, row: int, pixels: PixelConfig) -> np.ndarray:
    where = f"--reference, row {row + 1}"
    try:
        return load_pixels(path.read_bytes(), pixels)
    except Undecodable as bad:
        raise InputError(f"a reference image does not decode: {bad.cause}", where=where) from bad
    except OSError as error:
        raise InputError(
            f"a reference image cannot be read: {error.strerror}", where=where, remedy="Say where with --images"
        ) from None


def _batches(x: Float[np.ndarray, "n i s s"]) -> Iterator[torch.Tensor]:
    for start in range(0, len(x), BATCH):
        yield torch.from_numpy(x[start : start + BATCH])


def _logits(model: Classifier, batches: Iterator[torch.Tensor]) -> Float[np.ndarray, "n l"]:
    model.eval()
    with torch.inference_mode():
        return torch.cat([model.logits(model.pre_logits(batch)) for batch in batches]).numpy()


def judge(
    labels: Sequence[str], tolerance: float, images: Parity | None, tensors: Parity | None, hint: str = ""
) -> InputError | None:
    """Why the import is refused: which of preprocessing and network differs, as far as it can be told; None if nothing.

    Args:
        labels: Names of the logits.
        tolerance: Largest |difference| allowed.
        images: From reference images.
        tensors: From reference tensors.
        hint: What preprocessing would agree.
    """

    def off(parity: Parity) -> str:
        return f"{parity.largest[parity.worst]:.3g} for {labels[parity.worst]}"

    if tensors is not None and not tensors.within(tolerance):
        return InputError(
            "the network differs from the original: it gives other logits for the reference tensors",
            value=off(tensors),
            limit=tolerance,
            remedy="Check the network, its --kwargs and the file; preprocessing has no part in this",
        )
    if images is not None and not images.within(tolerance):
        if tensors is not None:
            what = "the preprocessing differs from the original: the network agrees on the reference tensors "
            what += f"(to {tensors.largest.max():.2g}), but not on the reference images"
        else:
            what = "the logits differ from the original's on the reference images"
        advice = "Check --size, --channels, --mean, --std, --fit, --resize and --interpolation"
        if tensors is None:
            advice += "; --reference-tensors would tell whether preprocessing or network differs"
        return InputError(what, value=off(images), limit=tolerance, remedy=f"{hint}. {advice}" if hint else advice)
    return None


def better(model: Classifier, reference: Reference, tolerance: float) -> str:
    """Other preprocessing with which the reference images agree; empty where none of those tried does."""
    card = model.card
    shapes: list[dict[str, Any]] = [{"fit": fit} for fit in ("crop", "pad", "stretch")]
    shapes += [{"fit": "crop", "resize": size} for size in (card.pixels.size, card.pixels.size * 8 // 7)]
    for shape in shapes:
        for interpolation in ("bilinear", "bicubic"):
            change = {"resize": None, **shape, "interpolation": interpolation}
            pixels = card.pixels.model_copy(update=change)
            if of_images(model, reference, pixels, TRIED).within(tolerance):
                said = " ".join(f"--{name} {value}" for name, value in change.items() if value is not None)
                return f"With {said} the first {min(TRIED, len(reference.files))} agree"
    mean, std = model.mean, model.std
    try:
        for name, (centre, scale) in NORMS.items():
            if max(len(centre), len(scale)) <= model.channels:
                model.mean = torch.tensor(centre).view(1, -1, 1, 1)
                model.std = torch.tensor(scale).view(1, -1, 1, 1)
                if of_images(model, reference, card.pixels, TRIED).within(tolerance):
                    return f"With {name} the first {min(TRIED, len(reference.files))} agree"
    finally:
        model.mean, model.std = mean, std
    return ""
