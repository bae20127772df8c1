"""import-model: a file of weights becomes one folder that the pipeline takes, proved against references."""

import shutil
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from neuroconcepts_ray.classifier import parity
from neuroconcepts_ray.classifier.brought import ImportedCard, file_sha256
from neuroconcepts_ray.classifier.card import CARD, WEIGHTS, Card
from neuroconcepts_ray.classifier.model import Classifier
from neuroconcepts_ray.classifier.parity import Parity, Reference
from neuroconcepts_ray.classifier.weights import fitted, read_weights, without
from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, NeuroconceptsError
from neuroconcepts_ray.lake.recipe import sha256


@dataclass(frozen=True)
class Imported:
    """An import before it is written.

    Attributes:
        card: With digests and figures.
        weights: The bytes of the safetensors file.
        images: Parity on reference images, where given.
        tensors: Parity on reference tensors, where given.
        refusal: Why it must not be written, if so.
    """

    card: ImportedCard
    weights: bytes
    images: Parity | None
    tensors: Parity | None
    refusal: NeuroconceptsError | None


def load(source: Path, card: Card, prefix: str = "") -> Classifier:
    """The classifier of a card with the weights of a file.

    Args:
        source: ``.pth``, ``.pt`` or ``.safetensors``.
        card: Network, labels and preprocessing; its width 0.
        prefix: Taken off the names in the file.

    Raises:
        ConfigError: The network cannot be built so.
        InputError: The file is refused, or does not fit.
    """
    tensors = without(prefix, read_weights(source))
    model = Classifier(card)
    model.load_timm_state(fitted(tensors, model.timm_state(), model.head_name))
    return model.requires_grad_(False).eval()


def bring(
    source: Path,
    card: Card,
    *,
    prefix: str = "",
    images: Reference | None = None,
    tensors: Reference | None = None,
    digests: dict[str, str],
    tolerance: float,
) -> Imported:
    """Load a file and compare it with its references.

    Args:
        source: The file of weights.
        card: See :func:`load`.
        prefix: Taken off the names in the file.
        images: Reference images with logits.
        tensors: Reference inputs with logits.
        digests: SHA-256 of the references' files.
        tolerance: Largest |difference| of a logit allowed.
    """
    model = load(source, card, prefix)
    by_tensors = None if tensors is None else parity.of_tensors(model, tensors)
    by_images = None if images is None else parity.of_images(model, images, card.pixels)
    hint = ""
    network_right = by_tensors is None or by_tensors.within(tolerance)
    if images is not None and by_images is not None and network_right and not by_images.within(tolerance):
        hint = parity.better(model, images, tolerance)
    data = save({name: value.cpu().clone().contiguous() for name, value in model.timm_state().items()})
    figures: dict[str, Any] = {"tolerance": tolerance}
    for name, found in (("images", by_images), ("tensors", by_tensors)):
        if found is not None and found.within(tolerance):
            figures[name] = found.to_dict(model.labels)
    made = ImportedCard(
        **model.card.model_dump(exclude={"pixels"}),
        pixels=card.pixels,
        digests={"weights": sha256(data), "source": file_sha256(source), **digests},
        parity=figures,
        versions={"torch": torch.__version__, **{name: version(name) for name in card.libraries}},
    )
    return Imported(
        made, data, by_images, by_tensors, parity.judge(model.labels, tolerance, by_images, by_tensors, hint)
    )


def check_free(folder: Path) -> None:
    """Refuse to write over anything.

    Raises:
        ConfigError: The folder is there and not empty, or is a file.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(
            "the folder to write is there already", value=folder, where="-o", remedy="Give another, or remove it"
        )


def write(imported: Imported, folder: Path) -> None:
    """Write the folder, whole or not at all.

    Raises:
        NeuroconceptsError: The import's refusal.
        ConfigError: The folder is there already.
        EnvironmentFault: It cannot be written.
    """
    if imported.refusal is not None:
        raise imported.refusal
    check_free(folder)
    temporary = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:12]}.tmp"
    try:
        temporary.mkdir(parents=True)
        (temporary / WEIGHTS).write_bytes(imported.weights)
        (temporary / CARD).write_bytes(imported.card.to_json())
        temporary.rename(folder)
    except OSError as error:
        raise EnvironmentFault(f"the folder cannot be written: {error.strerror}", value=folder, where="-o") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
