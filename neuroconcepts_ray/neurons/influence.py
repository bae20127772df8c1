"""What a neuron does to each class, and a logit taken apart exactly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.model import SAE


def latent_influence(W: Float[np.ndarray, "l d"], W_dec: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "l n"]:
    """W_y·d_j: by how much each logit rises when latent j fires by one more.

    Args:
        W: The head's weights.
        W_dec: The decoder's rows.
    """
    return W.astype(np.float64) @ W_dec.astype(np.float64).T


def unit_influence(W: Float[np.ndarray, "l d"], std: Float[np.ndarray, " d"]) -> Float[np.ndarray, "l d"]:
    """W_y,j·std_j: by how much each logit rises when the z-score of unit j rises by one; 0 for a constant unit.

    Args:
        W: The head's weights.
        std: Standard deviations of the units, infinite for constant ones; ones give the influence per activation.
    """
    return W.astype(np.float64) * np.where(np.isfinite(std), std, 0).astype(np.float64)


@dataclass(frozen=True)
class Decomposition:
    """The logits of one image through an SAE: Σ_j terms_j + bias_dec + residual + bias, float64.

    Attributes:
        latents: The latents that fire, ascending.
        terms: z_j W_y·d_j of each of them.
        bias_dec: W_y·b_dec.
        residual: W_y·(f − f̂): what the SAE does not explain; computed on its own, not as a remainder.
        bias: b_y.
        logits: W_y·f + b_y, computed without the SAE.
    """

    latents: Int[np.ndarray, " k"]
    terms: Float[np.ndarray, "k l"]
    bias_dec: Float[np.ndarray, " l"]
    residual: Float[np.ndarray, " l"]
    bias: Float[np.ndarray, " l"]
    logits: Float[np.ndarray, " l"]

    @property
    def total(self) -> Float[np.ndarray, " l"]:
        """The sum of all parts."""
        total: Float[np.ndarray, " l"] = self.terms.sum(axis=0) + self.bias_dec + self.residual + self.bias
        return total

    @property
    def error(self) -> float:
        """Largest difference between the sum of the parts and the logits."""
        return float(np.abs(self.total - self.logits).max())


def decompose(
    f: Float[np.ndarray, " d"],
    z: Float[np.ndarray, " n"],
    sae: SAE,
    W: Float[np.ndarray, "l d"],
    b: Float[np.ndarray, " l"],
) -> Decomposition:
    """Take the logits of one image apart: logit_y = Σ_j z_j W_y·d_j + W_y·b_dec + W_y·(f − f̂) + b_y.

    It holds for any code z, since f̂ = Σ_j z_j d_j + b_dec; with the SAE's own code the residual is small.

    Args:
        f: The vector that the head takes.
        z: The image's code over all latents.
        sae: The SAE, fitted on these vectors.
        W: The head's weights.
        b: The head's biases.

    Raises:
        InputError: The shapes do not belong together.
    """
    if f.shape != (sae.d,) or z.shape != (sae.n,) or W.shape != (len(b), sae.d):
        raise InputError(
            "vector, code and head do not belong to this SAE",
            value=f"f {f.shape}, z {z.shape}, W {W.shape}, b {b.shape}",
            limit=f"d = {sae.d}, n = {sae.n}",
        )
    f, W, b = f.astype(np.float64), W.astype(np.float64), b.astype(np.float64)
    latents = np.flatnonzero(z)
    directions = sae.W_dec[latents].double().cpu().numpy()
    b_dec = sae.b_dec.double().cpu().numpy()
    fired = z[latents].astype(np.float64)
    f_hat = fired @ directions + b_dec
    return Decomposition(
        latents=latents,
        terms=fired[:, None] * (directions @ W.T),
        bias_dec=W @ b_dec,
        residual=W @ (f - f_hat),
        bias=b,
        logits=W @ f + b,
    )
