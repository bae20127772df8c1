"""Weights that a config brings along: a safetensors file, or a folder that ``import-model`` wrote. Without torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuroconcepts_ray.classifier.card import CARD, WEIGHTS, Card
from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.errors import ConfigError, DigestError

WHERE = "classifier.weights"

SETTINGS = ("backbone", "backbone_kwargs", "pixels", "mean", "std", "labels")
"""Fields of the config that a card decides."""


class ImportedCard(Card):
    """``model.json`` of ``import-model``: the card, what it was made from, and how well it reproduces that."""

    digests: dict[str, str]
    """SHA-256 of ``weights`` (the safetensors file), ``source`` (the file imported) and the references."""
    parity: dict[str, Any]
    """Largest and mean difference of each label's logit, from reference images and from reference tensors."""
    versions: dict[str, str]
    """Libraries that the network came from when it was imported."""

    def card(self) -> Card:
        """What rebuilds the classifier."""
        return Card.model_validate({name: getattr(self, name) for name in Card.model_fields})


@dataclass(frozen=True)
class Brought:
    """Weights, and their card if they have one.

    Attributes:
        file: The safetensors file.
        sha256: Its digest.
        card: What rebuilds the classifier; None for a bare file, which the config describes.
    """

    file: Path
    sha256: str
    card: Card | None


def file_sha256(path: Path) -> str:
    """SHA-256 of a file of weights.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(
            "the classifier's weights cannot be read",
            value=path,
            where=WHERE,
            remedy="Give a safetensors file or a folder of import-model, or leave `weights` out to train",
        ) from error


def imported_card(path: str) -> ImportedCard | None:
    """The card of a folder of ``import-model``; None for a bare file, which the config describes.

    Raises:
        ConfigError: The folder is none of import-model's.
    """
    place = Path(path)
    if not place.is_dir():
        return None
    try:
        raw = json.loads((place / CARD).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the folder has no readable {CARD}",
            value=place,
            where=WHERE,
            remedy="Give a folder that `neuroconcepts import-model` wrote",
        ) from error
    return validate(ImportedCard, raw)


def open_brought(path: str) -> Brought:
    """What ``classifier.weights`` names.

    Raises:
        ConfigError: Nothing there, or a folder that is none of import-model's.
        DigestError: The folder's weights are not those of its card.
    """
    place = Path(path)
    card = imported_card(path)
    if card is None:
        return Brought(place, file_sha256(place), None)
    digest = file_sha256(place / WEIGHTS)
    if digest != card.digests.get("weights"):
        raise DigestError(
            f"{WEIGHTS} was altered: it is not what {CARD} was written for",
            where=WHERE,
            remedy="Import the model again",
        )
    return Brought(place / WEIGHTS, digest, card.card())


def check_agrees(card: Card, config: StrictModel) -> None:
    """Refuse settings of the config that the card says otherwise; those that are left out come from the card.

    Raises:
        ConfigError: Names both.
    """
    for name in SETTINGS:
        if name not in config.model_fields_set:
            continue
        ours, its = getattr(config, name), getattr(card, name)
        if name == "backbone" and card.factory is not None:
            its = f"factory {card.factory}"
        pairs = [(name, ours, its)]
        if isinstance(ours, StrictModel):
            pairs = [(f"{name}.{one}", getattr(ours, one), getattr(its, one)) for one in ours.model_fields_set]
        for key, one, other in pairs:
            if one != other:
                raise ConfigError(
                    f"classifier.{key} is {one} in the config, but {other} in the card of the imported model",
                    where=f"classifier.{key} and {WHERE}",
                    remedy=f"Leave classifier.{key} out, for the card decides; or import the model again",
                )
