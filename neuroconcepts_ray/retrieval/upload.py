"""An uploaded image as an example: decoded, classified and encoded exactly as the archive's images were.

Beside its code comes how far it lies from what the classifier was fitted on, because a network answers about a photo of
a hand as readily as about a film. The distance is Mahalanobis' over the vectors that the head takes (Lee et al. 2018),
with one covariance, shrunk after Ledoit and Wolf (2004).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8
from sklearn.covariance import LedoitWolf

from neuroconcepts_ray.activations.extract import check_finite, extract
from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.activations.taps import pooling
from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.classifier.model import Classifier, load_classifier
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.neurons.encode import encode_latents, encode_units
from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.neurons.tables import load_normalisation
from neuroconcepts_ray.retrieval.explain import probabilities
from neuroconcepts_ray.retrieval.ranking import Example
from neuroconcepts_ray.sae.config import CHOICE_ROLE, FIT_ROLES
from neuroconcepts_ray.sae.model import SAE, load_sae
from neuroconcepts_ray.sae.rows import has_role

HEAD_TAP = "pre_logits"
"""What the head takes: the distance is over these vectors."""

QUANTILE = 0.99
"""An image is far if it lies beyond so many of the ``select`` images."""

MOST = 20_000
"""Images that the covariance is taken over at most, evenly spread over the archive: more change nothing."""


@dataclass(frozen=True)
class Distance:
    """How far a vector lies from those of the archive.

    Attributes:
        mean: Their mean.
        precision: Inverse of their shrunk covariance.
        threshold: Distance beyond which a vector is far.
    """

    mean: Float64[np.ndarray, " d"]
    precision: Float64[np.ndarray, "d d"]
    threshold: float

    @classmethod
    def of(cls, fitted: Float[np.ndarray, "m d"], select: Float[np.ndarray, "s d"]) -> "Distance":
        """Mean and covariance of one set of images, the threshold of another.

        Args:
            fitted: Vectors of the images of roles fit and probe.
            select: Vectors of those of role select.

        Raises:
            InputError: Fewer than two images of the one, or none of the other.
        """
        if len(fitted) < 2 or not len(select):
            raise InputError(
                "too few images to say what is far from them",
                value=f"{len(fitted)} of fit and probe, {len(select)} of select",
                limit="2 and 1 at least",
            )
        shrunk = LedoitWolf().fit(fitted.astype(np.float64))
        bare = cls(shrunk.location_, shrunk.precision_, np.inf)
        return cls(bare.mean, bare.precision, float(np.quantile(bare(select), QUANTILE)))

    def __call__(self, f: Float[np.ndarray, "m d"]) -> Float64[np.ndarray, " m"]:
        """√((f − μ)ᵀ Σ⁻¹ (f − μ)) of each row."""
        centred = f.astype(np.float64) - self.mean
        squared = np.einsum("md,de,me->m", centred, self.precision, centred, optimize=True)
        distance: Float64[np.ndarray, " m"] = np.sqrt(np.maximum(squared, 0))
        return distance


@dataclass(frozen=True)
class Uploaded:
    """An uploaded image, ready to be searched with.

    Attributes:
        example: Its code; of no patient and no study.
        vector: The vector of the space's tap.
        labels: The classifier's labels.
        logits: What it says.
        probabilities: The same as probabilities.
        distance: How far the image lies from the fitted ones.
        threshold: Distance that 1 % of the ``select`` images exceed.
        far: Whether this one does: what the network says of it is then not to be trusted.
    """

    example: Example
    vector: Float[np.ndarray, " d"]
    labels: tuple[str, ...]
    logits: Float[np.ndarray, " l"]
    probabilities: Float[np.ndarray, " l"]
    distance: float
    threshold: float
    far: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain data, without the code."""
        return {
            "labels": list(self.labels),
            "logits": self.logits.tolist(),
            "probabilities": self.probabilities.tolist(),
            "distance": self.distance,
            "threshold": self.threshold,
            "far": self.far,
        }


class Uploader:
    """Everything that makes an image's bytes an example of one space.

    Args:
        model: The classifier, in eval mode.
        settings: ``tap``, ``dtype``, ``reduction``, ``tokens`` and ``batch_size`` of the activations.
        encoder: The SAE, or the units' normalisation.
        space: Settings of the code space: ``batch_size`` and, of units, ``top``.
        far: Distance from the fitted images.
        flagged: Share of the archive's own images that are far, by role; of ``select`` 1 % by construction.
        alike: Fill batches up to the archive's: an image's code is then bitwise its stored one on a machine of the same
            numeric profile, at the cost of whole batches. Otherwise it differs by float32 rounding, which on the demo
            is below 1e-6 of the largest activation.
    """

    def __init__(
        self,
        model: Classifier,
        settings: Mapping[str, Any],
        encoder: SAE | Normalisation,
        space: Mapping[str, Any],
        far: Distance,
        flagged: Mapping[str, float],
        *,
        alike: bool = False,
    ) -> None:
        self.model = model
        self.settings = dict(settings)
        self.encoder = encoder
        self.space = dict(space)
        self.far = far
        self.flagged = dict(flagged)
        self.alike = alike

    @classmethod
    def open(
        cls, lake: Lake, have: Mapping[str, Manifest], space: str, *, alike: bool = False, device: str = "cpu"
    ) -> "Uploader":
        """Open what encodes images for an index.

        Args:
            lake: The lake.
            have: The finished artifacts: catalog, classifier, activations, codes, index and, for latents, sae.
            space: The code space.
            alike: See the class.
            device: Where the classifier shall run.

        Raises:
            ConfigError: There is no index of this space.
            InputError: The index holds codes that this classifier and SAE did not make.
        """
        if f"index.{space}" not in have:
            there = sorted(name.removeprefix("index.") for name in have if name.startswith("index."))
            raise ConfigError("no index of this space", value=space, limit=", ".join(there) or "none yet")
        check(have, space)
        codes = have[f"codes.{space}"]
        tap = str(codes.facts["tap"])
        activations = have[f"activations.{tap}"]
        settings = activations.recipe_body["config"] | pooling(tap, activations.recipe_body["config"])
        latents = codes.facts["origin"] == "latents"
        return cls(
            load_classifier(lake, have["classifier"], device),
            settings,
            load_sae(lake, have["sae"]) if latents else load_normalisation(lake, codes),
            codes.recipe_body["config"],
            *_distance(lake, have),
            alike=alike,
        )

    def encode(self, data: bytes) -> Uploaded:
        """Decode, classify and encode an image.

        Args:
            data: The file's bytes.

        Raises:
            Undecodable: They will never become an image, or one larger than is decoded.
            InputError: The classifier overflows on it.
        """
        return self.encode_pixels(load_pixels(data, self.model.card.pixels))

    def encode_pixels(self, pixels: UInt8[np.ndarray, "c s s"]) -> Uploaded:
        """Classify and encode an image as the classifier takes it.

        Args:
            pixels: As its card says.
        """
        settings = self.settings
        batch = np.zeros((int(settings["batch_size"]) if self.alike else 1, *pixels.shape), np.uint8)
        batch[0] = pixels
        tap = settings["tap"]
        found = extract(
            self.model,
            batch,
            [tap],
            batch_size=len(batch),
            dtype=settings["dtype"],
            reduction=settings["reduction"],
            tokens=settings["tokens"],
        )
        for name in {tap, HEAD_TAP, "logits"}:
            check_finite(name, ["uploaded"], found[name][:1])
        neurons, values = self._code(found[tap][:1])
        logits = found["logits"][0]
        distance = float(self.far(found[HEAD_TAP][:1])[0])
        return Uploaded(
            example=Example("", neurons, values),
            vector=found[tap][0],
            labels=tuple(self.model.labels),
            logits=logits,
            probabilities=probabilities(logits, self.model.task),
            distance=distance,
            threshold=self.far.threshold,
            far=distance > self.far.threshold,
        )

    def _code(self, x: Float[np.ndarray, "1 d"]) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
        if isinstance(self.encoder, Normalisation):
            code = encode_units(self.encoder, x, int(self.space["top"]))
        else:
            size = int(self.space["batch_size"]) if self.alike else 1
            rows = np.concatenate([x, np.zeros((size - 1, x.shape[1]), x.dtype)])
            code = encode_latents(self.encoder, rows, size)[:1]
        return code.indices.astype(np.int64), code.data.astype(np.float64)


def check(have: Mapping[str, Manifest], space: str) -> None:
    """Refuse to encode for an index whose codes another classifier or SAE made.

    Args:
        have: The artifacts by name.
        space: The code space.

    Raises:
        InputError: They do not belong together; says which.
    """
    codes = have[f"codes.{space}"]
    tap = f"activations.{codes.facts['tap']}"
    pairs = [
        (f"index.{space}", have[f"index.{space}"].inputs.get("codes"), f"codes.{space}", codes.content),
        (f"codes.{space}", codes.inputs.get(tap), tap, have[tap].content),
        (tap, have[tap].inputs.get("classifier"), "classifier", have["classifier"].content),
    ]
    if codes.facts["origin"] == "latents":
        made_by = codes.recipe_body["models"].get("sae")
        pairs.append((f"codes.{space}", made_by, "sae", have["sae"].content))
    for made, of, name, content in pairs:
        if of != content:
            raise InputError(
                f"{made} was made with another {name} than the one that would encode the image",
                value=content[:12],
                limit=str(of)[:12],
                remedy="Run the chain again, or ask with the pipeline file that made the index",
            )


def _distance(lake: Lake, have: Mapping[str, Manifest]) -> tuple[Distance, dict[str, float]]:
    catalog = load_catalog(lake, have["catalog"])
    ids, f = load_activations(lake, have[f"activations.{HEAD_TAP}"])
    fitted = np.flatnonzero(has_role(ids, catalog.image_ids, catalog.roles, FIT_ROLES))
    if len(fitted) > MOST:
        fitted = fitted[np.linspace(0, len(fitted) - 1, MOST).astype(np.int64)]
    rows = {role: has_role(ids, catalog.image_ids, catalog.roles, (role,)) for role in (CHOICE_ROLE, "verify", "test")}
    far = Distance.of(f[fitted], f[rows[CHOICE_ROLE]])
    shares = {role: float((far(f[mine]) > far.threshold).mean()) for role, mine in rows.items() if mine.any()}
    return far, shares
