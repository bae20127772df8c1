"""Parts, receipts and manifests: the records that say which bytes count."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import SerializerFunctionWrapHandler, model_serializer

from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.lake.recipe import DIGEST_CHARS, FORMAT, digest

Root = Literal["lake", "phi"]


class Part(StrictModel):
    """One immutable file of an artifact."""

    name: str
    """Shard key or file name: what the part is, whoever wrote it."""
    key: str
    """Where it is, below its root."""
    sha256: str
    """SHA-256 of its bytes."""
    bytes: int
    """Its size."""
    rows: int = 0
    """Rows, where it is a table."""
    root: Root = "lake"
    """Below which root it lives."""

    @property
    def shard(self) -> str | None:
        """The shard's key, if the part is a shard of images."""
        stem = self.name.removesuffix(".parquet")
        return stem if re.fullmatch(rf"[0-9a-f]{{{DIGEST_CHARS}}}", stem) else None


class Quarantined(StrictModel):
    """An image that will never decode."""

    image_id: str
    """The image."""
    stage: str
    """The stage that met it."""
    cause: str
    """Why, without its path."""


class Receipt(StrictModel):
    """Which attempt at a shard counts: the first receipt wins."""

    shard: str
    """The shard's key."""
    part: Part
    """The part that the winning attempt wrote."""
    quarantined: list[Quarantined] = []
    """Images of the shard that have no row in the part."""
    profile: dict[str, str] = {}
    """Numeric profile: what must be equal for bitwise equal results."""
    seconds: dict[str, float] = {}
    """Time spent by read, decode, infer and write; not part of the content."""
    nonce: str = ""
    """The writer."""


class Manifest(StrictModel):
    """The commit of an artifact: everything a reader needs to trust its bytes."""

    format: int = FORMAT
    """Version of the lake's format norm."""
    kind: str
    """Kind of artifact, such as ``activations``."""
    name: str
    """Role in the pipeline, such as ``activations.pre_logits``."""
    recipe: str
    """Digest of the recipe."""
    recipe_body: dict[str, Any]
    """The recipe itself."""
    inputs: dict[str, str]
    """Content digest of each input."""
    artifact: str
    """The fingerprint: digest of recipe and inputs."""
    parts: list[Part]
    """Shards in their order, then files."""
    quarantined: list[Quarantined] = []
    """All images that were set aside, in shard order."""
    facts: dict[str, Any] = {}
    """Small results that belong to the content: dimensions, labels, metrics."""
    profile: dict[str, str] = {}
    """The numeric profile that all shards share."""
    notes: dict[str, Any] = {}
    """What is to be known of the artifact and is no part of its content, such as how many patients were erased since
    a model was fitted."""
    content: str
    """Digest of the content: equal for equal results, whoever computed them and however often they died."""
    nonce: str = ""
    """The writer."""

    @model_serializer(mode="wrap")
    def _without_empty_notes(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Programs that do not know of notes refuse a manifest that has them.
        data: dict[str, Any] = plain(self)
        return data if self.notes else {name: value for name, value in data.items() if name != "notes"}

    @property
    def images(self) -> int | None:
        """Images that it has a row of; None for an artifact that is not one row an image."""
        if "images" in self.facts:
            return int(self.facts["images"])
        shards = [part for part in self.parts if part.shard]
        return sum(part.rows for part in shards) if shards else None

    def part(self, name: str) -> Part:
        """The part of that name.

        Raises:
            KeyError: There is none.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(name)


def content_digest(kind: str, parts: Sequence[Part], quarantined: Sequence[Quarantined], facts: dict[str, Any]) -> str:
    """Digest over what an artifact says, not over who wrote it: attempts, keys and times stay out."""
    return digest(
        {
            "kind": kind,
            "parts": [[part.name, part.sha256, part.rows] for part in parts],
            "quarantined": [[bad.image_id, bad.stage, bad.cause] for bad in quarantined],
            "facts": facts,
        }
    )
