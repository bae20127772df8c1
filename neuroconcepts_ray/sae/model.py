"""A fitted sparse autoencoder: encode, decode, and its two files."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import canonical_json
from neuroconcepts_ray.sae.activation import Activation, JumpReLU, TopK
from neuroconcepts_ray.sae.brought import DESCRIPTION as DESCRIPTION
from neuroconcepts_ray.sae.brought import WEIGHTS as WEIGHTS
from neuroconcepts_ray.sae.checkpoint import check_shapes, integer, read_config, read_tensors


@dataclass(frozen=True)
class SAE:
    """z = activation((x − b_dec) W_encᵀ + b_enc), x̂ = z W_dec + b_dec, on activations as they come.

    However it was trained: every member of the family ends as TopK or JumpReLU.

    Attributes:
        W_enc: Encoder, one row per latent.
        b_enc: Encoder bias.
        W_dec: Decoder, one row per latent: its direction in the space of activations. Rows have unit norm, but where a
            TopK was brought along that ranks by codes over other rows (:mod:`neuroconcepts_ray.sae.formats`).
        b_dec: Decoder bias, subtracted before encoding.
        activation: Which pre-activations fire.
    """

    W_enc: Float[Tensor, "n d"]
    b_enc: Float[Tensor, " n"]
    W_dec: Float[Tensor, "n d"]
    b_dec: Float[Tensor, " d"]
    activation: Activation

    @property
    def n(self) -> int:
        """Number of latents."""
        return len(self.W_enc)

    @property
    def d(self) -> int:
        """Dimension of the activations."""
        return len(self.b_dec)

    @property
    def k(self) -> int | None:
        """Latents that may fire for one input; None where a threshold decides."""
        return self.activation.k if isinstance(self.activation, TopK) else None

    def pre(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
        """Pre-activations."""
        return torch.addmm(self.b_enc, x - self.b_dec, self.W_enc.T)

    def encode_dense(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b n"]:
        """Codes as one row over all latents."""
        return self.activation.dense(self.pre(x))

    def decode(self, z: Float[Tensor, "b n"]) -> Float[Tensor, "b d"]:
        """The reconstruction of a dense code."""
        return torch.addmm(self.b_dec, z, self.W_dec)

    def reconstruct(self, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """x̂: decode what encode kept."""
        return self.decode(self.encode_dense(x))

    def to(self, device: str | torch.device) -> "SAE":
        """The same on another device."""
        return SAE(
            self.W_enc.to(device),
            self.b_enc.to(device),
            self.W_dec.to(device),
            self.b_dec.to(device),
            self.activation.to(device),
        )


def save_sae(sae: SAE, tap: str, variant: str) -> dict[str, bytes]:
    """The two files of an SAE, by name.

    Args:
        sae: The SAE.
        tap: The activations it was fitted on.
        variant: Which member of the family it was trained as.
    """
    tensors = {name: getattr(sae, name).float().cpu().contiguous() for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    description = {"variant": variant, "activation": "topk", "tap": tap, "n": sae.n, "d": sae.d, "k": sae.k}
    if isinstance(sae.activation, JumpReLU):
        tensors["theta"] = sae.activation.theta.float().cpu().contiguous()
        description["activation"] = "jumprelu"
    return {WEIGHTS: save(tensors), DESCRIPTION: canonical_json(description)}


def read_sae(weights: bytes, description: bytes) -> SAE:
    """Read back :func:`save_sae`; a pickle is refused unopened.

    Raises:
        InputError: Damaged, or the tensors are not those that the description promises.
    """
    about = read_config(description, DESCRIPTION)
    kind = about.get("activation", "topk")  # format 1 of the first version knew no other
    if kind not in ("topk", "jumprelu"):
        raise InputError("no such activation of an SAE", value=kind, limit="topk, jumprelu", where=DESCRIPTION)
    n, d = integer(about, "n", where=DESCRIPTION), integer(about, "d", where=DESCRIPTION)
    tensors = read_tensors(weights, WEIGHTS)
    want: dict[str, tuple[int, ...]] = {"W_enc": (n, d), "b_enc": (n,), "W_dec": (n, d), "b_dec": (d,)}
    check_shapes(tensors, want | ({"theta": (n,)} if kind == "jumprelu" else {}), WEIGHTS)
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    if kind == "topk":
        return SAE(**tensors, activation=TopK(integer(about, "k", limit=n, where=DESCRIPTION)))
    theta = tensors.pop("theta")
    if bool((theta < 0).any()):
        raise InputError("a threshold is negative", value=float(theta.min()), limit="theta ≥ 0", where=WEIGHTS)
    return SAE(**tensors, activation=JumpReLU(theta))


def load_sae(lake: Lake, manifest: Manifest) -> SAE:
    """The SAE of an artifact."""
    return read_sae(lake.read(manifest.part(WEIGHTS)), lake.read(manifest.part(DESCRIPTION)))
