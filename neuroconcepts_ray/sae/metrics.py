"""What an SAE leaves unexplained on images it has not seen, beside what PCA leaves at the same L0."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits
from torch import Tensor

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.model import SAE

BATCH = 1024


@dataclass(frozen=True)
class Metrics:
    """Metrics of an SAE on held-out images.

    Attributes:
        fvu: Fraction of variance unexplained, see :func:`fvu`.
        l0: Mean number of latents that fire for an image.
        dead_fraction: Share of latents that fire for no *training* image.
        pca_fvu: FVU of PCA with as many components as ``l0`` (rounded), fitted on the training images.
        mean_fvu: FVU of the training images' mean: 1 but for the drift between the two sets of images.
        images: Held-out images.
    """

    fvu: float
    l0: float
    dead_fraction: float
    pca_fvu: float
    mean_fvu: float
    images: int

    def facts(self) -> dict[str, float]:
        """As plain data."""
        return asdict(self)


def fvu(x: Float[np.ndarray, "m d"], x_hat: Float[np.ndarray, "m d"]) -> float:
    """Σᵢ‖xᵢ − x̂ᵢ‖² / Σᵢ‖xᵢ − x̄‖², with x̄ the per-dimension mean of the evaluated images themselves, in float64.

    Predicting x̄ scores 1 and the best constant cannot score less. It is a ratio of sums: neither a mean of ratios per
    image or dimension nor relative to ‖x‖², both of which flatter.
    """
    x = x.astype(np.float64)
    return float(np.square(x - x_hat).sum() / np.square(x - x.mean(axis=0)).sum())


def principal(x: Float[np.ndarray, "m d"], components: int) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "c d"]]:
    """Mean and first principal directions (orthonormal rows), at most d of them."""
    mean = x.mean(axis=0, dtype=np.float64)
    d = x.shape[1]
    covariance = np.zeros((d, d))
    for start in range(0, len(x), 8192):
        block = x[start : start + 8192] - mean
        covariance += block.T @ block
    least = d - min(components, d)
    if least == d:
        return mean, np.zeros((0, d))
    return mean, eigh(covariance, subset_by_index=[least, d - 1])[1].T


def pca_fvu(fitted: Float[np.ndarray, "m d"], x: Float[np.ndarray, "h d"], components: int) -> float:
    """FVU on ``x`` of PCA with so many components fitted on ``fitted``."""
    mean, directions = principal(fitted, components)
    centred = x - mean
    return fvu(x, mean + centred @ directions.T @ directions)


def _blocks(sae: SAE, x: Float[np.ndarray, "m d"]) -> Iterator[Float[Tensor, "b d"]]:
    for start in range(0, len(x), BATCH):
        yield torch.from_numpy(x[start : start + BATCH]).to(sae.b_dec)


@torch.inference_mode()
def fires(sae: SAE, x: Float[np.ndarray, "m d"]) -> Bool[np.ndarray, " n"]:
    """Which latents fire for at least one image."""
    seen = torch.zeros(sae.n, dtype=torch.bool, device=sae.b_dec.device)
    for block in _blocks(sae, x):
        seen |= (sae.encode_dense(block) > 0).any(dim=0)
    fired: Bool[np.ndarray, " n"] = seen.cpu().numpy()
    return fired


@torch.inference_mode()
def evaluate(sae: SAE, x: Float[np.ndarray, "h d"], fitted: Float[np.ndarray, "m d"]) -> Metrics:
    """Metrics on held-out images; on one thread, because products round by the number of threads.

    Args:
        sae: The SAE.
        x: Activations of images of a role that the SAE was not trained on.
        fitted: Activations of the images it was trained on (for PCA, the mean and dead latents).

    Raises:
        InputError: Fewer than two held-out images, of which no variance can be had.
    """
    if len(x) < 2:
        raise InputError("too few held-out images to measure an SAE on", value=len(x), limit="≥ 2")
    with threadpool_limits(limits=1):
        x_hat, firing = [], 0
        for block in _blocks(sae, x):
            z = sae.encode_dense(block)
            firing += int((z > 0).sum())
            x_hat.append(sae.decode(z).cpu().numpy())
        l0 = firing / len(x)
        return Metrics(
            fvu=fvu(x, np.concatenate(x_hat)),
            l0=l0,
            dead_fraction=float(1 - fires(sae, fitted).mean()),
            pca_fvu=pca_fvu(fitted, x, round(l0)),
            mean_fvu=fvu(x, np.broadcast_to(fitted.mean(axis=0, dtype=np.float64), x.shape)),
            images=len(x),
        )
