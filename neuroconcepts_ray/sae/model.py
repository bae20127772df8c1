"""A fitted sparse autoencoder: encode, decode, and its two files."""

import json
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from safetensors.torch import load, save
from torch import Tensor

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import canonical_json
from neuroconcepts_ray.sae.topk import TopK

WEIGHTS = "weights.safetensors"
DESCRIPTION = "sae.json"


@dataclass(frozen=True)
class SAE:
    """z = variant((x − b_dec) W_encᵀ + b_enc), x̂ = z W_dec + b_dec, on activations as they come.

    Attributes:
        W_enc: Encoder, one row per latent.
        b_enc: Encoder bias.
        W_dec: Decoder, one row of unit norm per latent: its direction in the space of activations.
        b_dec: Decoder bias, subtracted before encoding.
        variant: Which pre-activations fire.
    """

    W_enc: Float[Tensor, "n d"]
    b_enc: Float[Tensor, " n"]
    W_dec: Float[Tensor, "n d"]
    b_dec: Float[Tensor, " d"]
    variant: TopK

    @property
    def n(self) -> int:
        """Number of latents."""
        return len(self.W_enc)

    @property
    def d(self) -> int:
        """Dimension of the activations."""
        return len(self.b_dec)

    @property
    def k(self) -> int:
        """Latents that may fire for one input."""
        return self.variant.k

    def pre(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
        """Pre-activations."""
        return torch.addmm(self.b_enc, x - self.b_dec, self.W_enc.T)

    def encode(self, x: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b k"], Int[Tensor, "b k"]]:
        """Codes as values and latents; a value of zero means that fewer than k fire."""
        return self.variant.sparse(self.pre(x))

    def encode_dense(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
        """Codes as one row over all latents."""
        return self.variant.dense(self.pre(x))

    def decode(self, z: Float[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """The reconstruction of a dense code."""
        return torch.addmm(self.b_dec, z, self.W_dec)

    def reconstruct(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """x̂: decode what encode kept."""
        return self.decode(self.encode_dense(x))

    def to(self, device: str | torch.device) -> "SAE":
        """The same on another device."""
        return SAE(
            self.W_enc.to(device), self.b_enc.to(device), self.W_dec.to(device), self.b_dec.to(device), self.variant
        )


def save_sae(sae: SAE, tap: str) -> dict[str, bytes]:
    """The two files of an SAE, by name.

    Args:
        sae: The SAE.
        tap: The activations it was fitted on.
    """
    tensors = {name: getattr(sae, name).float().cpu().contiguous() for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    description = {"variant": "topk", "tap": tap, "n": sae.n, "d": sae.d, "k": sae.k}
    return {WEIGHTS: save(tensors), DESCRIPTION: canonical_json(description)}


def read_sae(weights: bytes, description: bytes) -> SAE:
    """Read back :func:`save_sae`.

    Raises:
        InputError: The tensors are not those that the description promises.
    """
    about = json.loads(description)
    tensors = load(weights)
    n, d = about["n"], about["d"]
    want = {"W_enc": (n, d), "b_enc": (n,), "W_dec": (n, d), "b_dec": (d,)}
    got = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if about["variant"] != "topk" or got != want:
        raise InputError("not the weights of a TopK SAE", value=got, limit=want, where=WEIGHTS)
    return SAE(**tensors, variant=TopK(about["k"]))


def load_sae(lake: Lake, manifest: Manifest) -> SAE:
    """The SAE of an artifact."""
    return read_sae(lake.read(manifest.part(WEIGHTS)), lake.read(manifest.part(DESCRIPTION)))
