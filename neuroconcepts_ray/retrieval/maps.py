"""Where in an image a neuron sees what it fires for.

Under average pooling a neuron's pre-activation is the mean over positions p of W_enc,j·(x_p − b_dec) + b_enc,j (of a
unit: of its z-score (x_pj − mean_j)/std_j), so those summands are the map, exactly. Whether a tap is such a mean is not
guessed but looked at: the grid's mean must be the pooled vector of this very image. For a class token, a maximum, or a
norm after pooling, the map is by occlusion: how far the pre-activation falls when a window is painted over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor, nn

from neuroconcepts_ray.activations.taps import pooling
from neuroconcepts_ray.catalog.sources import read_source
from neuroconcepts_ray.catalog.tables import load_sources
from neuroconcepts_ray.classifier import backbones
from neuroconcepts_ray.classifier.model import Classifier, load_classifier
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.imaging.overlay import overlay
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.neurons.tables import load_normalisation
from neuroconcepts_ray.retrieval.upload import check
from neuroconcepts_ray.sae.model import load_sae

SAME = 1e-4
"""How far, as a share of the largest, a grid's mean may be from the pooled vector and still be it in float32."""

WINDOWS = 12
"""Windows along each side of an occlusion map; each is twice as wide as the step."""


@dataclass(frozen=True)
class Readout:
    """The pre-activations of a space as a linear function of its tap: a_j = w_j · x + c_j.

    Attributes:
        W: One row a neuron.
        c: One constant a neuron.
    """

    W: Float64[np.ndarray, "n d"]
    c: Float64[np.ndarray, " n"]

    def rows(self, neurons: Sequence[int]) -> "Readout":
        """Of some neurons only."""
        return Readout(self.W[list(neurons)], self.c[list(neurons)])

    def __call__(self, x: Float[np.ndarray, "*p d"]) -> Float64[np.ndarray, "*p n"]:
        """Pre-activations, in float64."""
        values: Float64[np.ndarray, "*p n"] = x.astype(np.float64) @ self.W.T + self.c
        return values


@dataclass(frozen=True)
class Mapper:
    """Everything that makes maps of a space's neurons.

    Attributes:
        model: The classifier, in eval mode.
        tap: The module of the space's tap.
        reduction: How the tap's maps were pooled.
        tokens: How the tap's tokens were pooled.
        readout: From the tap to pre-activations.
    """

    model: Classifier
    tap: str
    reduction: str
    tokens: str
    readout: Readout

    @classmethod
    def open(cls, lake: Lake, have: Mapping[str, Manifest], space: str, device: str = "cpu") -> "Mapper":
        """Open what maps a space's neurons.

        Args:
            lake: The lake.
            have: The finished artifacts: classifier, activations, codes, index and, for latents, sae.
            space: The code space.
            device: Where the classifier shall run.

        Raises:
            InputError: The artifacts do not belong together.
        """
        check(have, space)
        codes = have[f"codes.{space}"]
        tap = str(codes.facts["tap"])
        how = pooling(tap, have[f"activations.{tap}"].recipe_body["config"])
        if codes.facts["origin"] == "latents":
            sae = load_sae(lake, have["sae"])
            w = sae.W_enc.double().numpy()
            readout = Readout(w, sae.b_enc.double().numpy() - w @ sae.b_dec.double().numpy())
        else:
            normalisation = load_normalisation(lake, codes)
            scale = 1 / normalisation.std.astype(np.float64)
            readout = Readout(np.diag(scale), -normalisation.mean.astype(np.float64) * scale)
        model = load_classifier(lake, have["classifier"], device)
        return cls(model, how["tap"], how["reduction"], how["tokens"], readout)

    def activations(
        self, pixels: UInt8[np.ndarray, "b c s s"], neurons: Sequence[int], batch: int = 32
    ) -> Float64[np.ndarray, "b k"]:
        """Pre-activations of some neurons in images, in float32 arithmetic of the backbone.

        Args:
            pixels: The images as the classifier takes them.
            neurons: Which neurons.
            batch: Images of a forward pass.
        """
        taps = [] if self.tap in backbones.RESERVED else [self.tap]
        found = []
        with torch.inference_mode():
            for start in range(0, len(pixels), batch):
                some = torch.from_numpy(np.array(pixels[start : start + batch])).to(self.model.W.device)
                out = self.model.forward_taps(some, taps, reduction=self.reduction, tokens=self.tokens)
                found.append(out[self.tap].float().cpu().numpy())
        return self.readout.rows(neurons)(np.concatenate(found))

    def maps(
        self, pixels: UInt8[np.ndarray, "c s s"], neurons: Sequence[int]
    ) -> tuple[Float64[np.ndarray, "k h w"], str]:
        """Maps of some neurons in one image, and how they came about: ``positions`` or ``occlusion``.

        Args:
            pixels: The image as the classifier takes it.
            neurons: Which neurons.
        """
        grid = self.grid(pixels)
        if grid is not None:
            return np.moveaxis(self.readout.rows(neurons)(grid), -1, 0), "positions"
        return occlusion(pixels, lambda images: self.activations(images, neurons)), "occlusion"

    def grid(self, pixels: UInt8[np.ndarray, "c s s"]) -> Float[np.ndarray, "h w d"] | None:
        """The tap at each position, if their mean is the tap's vector; else None."""
        raw: list[object] = []
        x = torch.from_numpy(np.array(pixels[None])).to(self.model.W.device)
        with torch.inference_mode():
            normal = self.model.normalise(x.float() / 255)
            if self.tap == "logits":
                return None
            if self.tap == "pre_logits":
                vector, features = self.model.pooled(normal)
                raw.append(features)
            else:
                module = backbones.layer(self.model.backbone, self.tap, hidden=self.model.head_name)

                def keep(_module: nn.Module, _given: object, output: object) -> None:
                    # A copy, for a later in-place operation may overwrite the output.
                    raw.append(output.clone() if isinstance(output, Tensor) else output)

                handle = module.register_forward_hook(keep)
                try:
                    found = self.model.forward_taps(x, [self.tap], reduction=self.reduction, tokens=self.tokens)
                finally:
                    handle.remove()
                vector = found[self.tap]
        grid = positions(raw[-1], vector.shape[1], self.model.prefix)
        if grid is None:
            return None
        pooled = vector[0].float().cpu().numpy()
        mean = grid.astype(np.float64).mean(axis=(0, 1))
        return grid if np.abs(mean - pooled).max() <= SAME * max(float(np.abs(pooled).max()), 1e-12) else None


def positions(output: object, width: int, prefix: int) -> Float[np.ndarray, "h w d"] | None:
    """What a module gives for one image as a grid of vectors; None where it has no positions.

    Args:
        output: ``[1, d, h, w]``, ``[1, h, w, d]`` or ``[1, t, d]`` with a square number of patches after the prefix.
        width: d.
        prefix: Tokens before those of the patches.
    """
    if not isinstance(output, Tensor):
        return None
    values = output[0].float().cpu().numpy()
    if values.ndim == 3:
        if values.shape[0] == width:
            return np.moveaxis(values, 0, -1)
        return values if values.shape[2] == width else None
    if values.ndim == 2 and values.shape[1] == width:
        side = round(float(np.sqrt(len(values) - prefix)))
        if side and side * side == len(values) - prefix:
            return values[prefix:].reshape(side, side, width)
    return None


def occlusion(
    pixels: UInt8[np.ndarray, "c s s"], activations: Callable[[np.ndarray], np.ndarray], windows: int = WINDOWS
) -> Float64[np.ndarray, "k w w"]:
    """How far pre-activations fall when a window of the image is painted over with its mean.

    Args:
        pixels: The image.
        activations: Pre-activations [b, k] of images [b, c, s, s].
        windows: Windows along each side.
    """
    size = pixels.shape[1]
    centres = (np.arange(windows) + 0.5) * size / windows
    reach = size / windows
    painted = np.repeat(pixels[None], windows * windows, axis=0)
    fill = mean_pixel(pixels)
    for number in range(windows * windows):
        y, x = centres[number // windows], centres[number % windows]
        rows = slice(max(0, round(y - reach)), round(y + reach))
        columns = slice(max(0, round(x - reach)), round(x + reach))
        painted[number, :, rows, columns] = fill
    before = activations(pixels[None])
    falls = before - activations(painted)
    found: Float64[np.ndarray, "k w w"] = falls.T.reshape(-1, windows, windows)
    return found


@dataclass(frozen=True)
class Pair:
    """A concept that a query and a hit share.

    Attributes:
        neuron: The neuron.
        query: The image that asked.
        hit: The image that was found.
    """

    neuron: int
    query: str
    hit: str


def write_maps(
    lake: Lake, have: Mapping[str, Manifest], root: str, space: str, pairs: Sequence[Pair], folder: Path
) -> list[dict[str, Any]]:
    """Write the maps of shared concepts in both images, each pair on one scale.

    Args:
        lake: The lake.
        have: The finished artifacts; see :meth:`Mapper.open`, and the catalog.
        root: The archive's root.
        space: The code space.
        pairs: What to map.
        folder: Where the PNGs go; made where absent.

    Returns:
        For each pair ``{"neuron", "by", "query": {"image_id", "file"}, "hit": {"image_id", "file"}}``.

    Raises:
        InputError: An image that the catalog does not have, or no such neuron.
    """
    mapper = Mapper.open(lake, have, space)
    sources = load_sources(lake, have["catalog"])
    wanted: dict[str, list[int]] = {}
    for pair in pairs:
        if not 0 <= pair.neuron < len(mapper.readout.c):
            limit = f"0…{len(mapper.readout.c) - 1}"
            raise InputError("the space has no such neuron", value=pair.neuron, limit=limit)
        for image_id in (pair.query, pair.hit):
            if image_id not in sources:
                raise InputError("the catalog has no such image", value=image_id)
            wanted.setdefault(image_id, []).append(pair.neuron)
    films: dict[str, UInt8[np.ndarray, "c s s"]] = {}
    made: dict[tuple[str, int], Float64[np.ndarray, "h w"]] = {}
    how = "positions"
    for image_id, neurons in wanted.items():
        films[image_id] = load_pixels(read_source(root, sources[image_id]), mapper.model.card.pixels)
        maps, how = mapper.maps(films[image_id], neurons)
        made |= {(image_id, neuron): one for neuron, one in zip(neurons, maps, strict=True)}
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, pair in enumerate(pairs):
        sides = {"query": pair.query, "hit": pair.hit}
        top = max(float(made[image_id, pair.neuron].max()) for image_id in sides.values())
        entry: dict[str, Any] = {"neuron": pair.neuron, "by": how}
        for side, image_id in sides.items():
            path = folder / f"{number:03}-{space}{pair.neuron}-{side}.png"
            path.write_bytes(overlay(films[image_id], made[image_id, pair.neuron], top=top))
            entry[side] = {"image_id": image_id, "file": path.name}
        written.append(entry)
    return written


def mean_pixel(pixels: UInt8[np.ndarray, "c s s"]) -> UInt8[np.ndarray, "c 1 1"]:
    """What an image is painted over with."""
    mean: UInt8[np.ndarray, "c 1 1"] = np.round(pixels.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    return mean
