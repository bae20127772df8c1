"""An SAE that a config brings along: a folder of ``import-sae``, by its digests. Without torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from neuroconcepts_ray.errors import ConfigError, InputError

WEIGHTS = "weights.safetensors"
DESCRIPTION = "sae.json"
WHERE = "sae.weights"


@dataclass(frozen=True)
class Brought:
    """An SAE brought along.

    Attributes:
        folder: Where it lies.
        digests: SHA-256 of its weights and of its description.
        tap: The activations that it says it reads.
        d: Their dimension.
    """

    folder: Path
    digests: dict[str, str]
    tap: str
    d: int


def open_brought(path: str) -> Brought:
    """What ``sae.weights`` names.

    Raises:
        ConfigError: Nothing there, or no folder of an SAE.
    """
    folder = Path(path)
    try:
        description = (folder / DESCRIPTION).read_bytes()
        about = json.loads(description)
        tap, d = str(about["tap"]), int(about["d"])
        with (folder / WEIGHTS).open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"there is no SAE: a folder with {DESCRIPTION} and {WEIGHTS}",
            value=folder,
            where=WHERE,
            remedy="Give a folder that `neuroconcepts import-sae` wrote, or leave `weights` out to fit one",
        ) from error
    return Brought(folder, {"weights": weights, "description": hashlib.sha256(description).hexdigest()}, tap, d)


def check_fits(brought: Brought, tap: str, d: int) -> None:
    """Refuse an SAE of other activations.

    Args:
        brought: The SAE.
        tap: The tap that the config gives it.
        d: The dimension of that tap's activations.

    Raises:
        ConfigError: Another tap.
        InputError: Another dimension.
    """
    if brought.tap != tap:
        raise ConfigError(
            f"sae.tap is {tap}, but the SAE brought along says that it reads {brought.tap}",
            where=WHERE,
            remedy=f"Set sae.tap to {brought.tap}, or import it with --tap {tap}",
        )
    if brought.d != d:
        raise InputError(
            "the SAE brought along reads vectors of another dimension than the tap has",
            value=f"d = {brought.d}",
            limit=f"d = {d} ({tap})",
            where=WHERE,
            remedy="Bring an SAE of this classifier's tap, or set sae.tap to the one it was fitted on",
        )
