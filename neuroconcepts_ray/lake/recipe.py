"""What made it: canonical JSON, SHA-256, recipes and the names that follow from them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FORMAT = 1
"""Version of the lake's format norm, ``storage/FORMAT.md``."""

DIGEST_CHARS = 32
"""Hexadecimal digits of a SHA-256 that names carry: 128 bits."""


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: equal data, equal bytes.

    Raises:
        ValueError: NaN or infinity, which JSON cannot hold.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256(data: bytes) -> str:
    """SHA-256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest(value: object) -> str:
    """The name of plain data: the first 32 hexadecimal digits of SHA-256 over its canonical JSON."""
    return sha256(canonical_json(value))[:DIGEST_CHARS]


@dataclass(frozen=True)
class Recipe:
    """All that decides a result but its input data.

    Attributes:
        kind: The artifact's kind, also its folder in the lake.
        algorithm: Version of the stage's algorithm; raised by hand whenever the same config would give other bytes.
        config: The resolved config fields that change the result (:func:`neuroconcepts_ray.config.recipe_fields`).
        models: Content digests of the models used.
    """

    kind: str
    algorithm: int
    config: Mapping[str, Any]
    models: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The recipe as plain data."""
        return {
            "kind": self.kind,
            "format": FORMAT,
            "algorithm": self.algorithm,
            "config": dict(self.config),
            "models": dict(self.models),
        }

    @property
    def digest(self) -> str:
        """The recipe's name."""
        return digest(self.body())


@dataclass(frozen=True)
class Plan:
    """One artifact before it exists: its recipe and the content digests of its inputs."""

    recipe: Recipe
    inputs: Mapping[str, str]

    @property
    def artifact(self) -> str:
        """The fingerprint: digest of recipe and inputs. Equal fingerprints, equal results."""
        return digest({"recipe": self.recipe.digest, "inputs": dict(self.inputs)})


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan as plain data, to cross a process boundary."""
    return {"recipe": plan.recipe.body(), "inputs": dict(plan.inputs)}


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """Read back :func:`plan_to_json`."""
    body = data["recipe"]
    return Plan(Recipe(body["kind"], body["algorithm"], body["config"], body["models"]), data["inputs"])
