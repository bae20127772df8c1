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
from neuroconcepts_ray.sae.data import Rows
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


@dataclass(frozen=True)
class Gathered:
    """What the figures need of the training images, gathered in two passes over them.

    Attributes:
        images: How many rows there are.
        mean: Their mean.
        scatter: Σ (x − mean)(x − mean)ᵀ.
        fires: Latents that fire for at least one.
        mean_z: Mean activation of each latent.
        fvu: What the SAE leaves of them unexplained, as :func:`fvu` has it.
    """

    images: int
    mean: Float[np.ndarray, " d"]
    scatter: Float[np.ndarray, "d d"]
    fires: Bool[np.ndarray, " n"]
    mean_z: Float[np.ndarray, " n"]
    fvu: float


def _batches(rows: Rows) -> Iterator[Float[Tensor, "b d"]]:
    for block in rows.blocks():
        for start in range(0, len(block), BATCH):
            yield block[start : start + BATCH]


@torch.inference_mode()
def gather(sae: SAE, rows: Rows) -> Gathered:
    """Look at all training rows twice, some at a time; on one thread, because products round by the number of threads.

    Args:
        sae: The SAE.
        rows: The rows that it was trained on, in memory or on disk.
    """
    device = sae.b_dec.device
    with threadpool_limits(limits=1):
        total = torch.zeros(sae.d, dtype=torch.float64, device=device)
        for block in _batches(rows):
            total += block.to(device).sum(dim=0, dtype=torch.float64)
        mean = total / len(rows)
        scatter = torch.zeros((sae.d, sae.d), dtype=torch.float64, device=device)
        fired = torch.zeros(sae.n, dtype=torch.bool, device=device)
        sum_z = torch.zeros(sae.n, dtype=torch.float64, device=device)
        error = torch.zeros((), dtype=torch.float64, device=device)
        for block in _batches(rows):
            block = block.to(sae.b_dec)
            z = sae.encode_dense(block)
            fired |= (z > 0).any(dim=0)
            sum_z += z.sum(dim=0, dtype=torch.float64)
            error += (block.double() - sae.decode(z)).square().sum()
            centred = block.double() - mean
            scatter += centred.T @ centred
        return Gathered(
            images=len(rows),
            mean=mean.cpu().numpy(),
            scatter=scatter.cpu().numpy(),
            fires=fired.cpu().numpy(),
            mean_z=(sum_z / len(rows)).cpu().numpy(),
            fvu=float(error / scatter.trace()),
        )


def principal(scatter: Float[np.ndarray, "d d"], components: int) -> Float[np.ndarray, "c d"]:
    """First principal directions (orthonormal rows), at most d of them.

    Args:
        scatter: Σ (x − mean)(x − mean)ᵀ.
        components: How many.
    """
    d = len(scatter)
    least = d - min(components, d)
    if least == d:
        return np.zeros((0, d))
    directions: Float[np.ndarray, "c d"] = eigh(scatter, subset_by_index=[least, d - 1])[1].T
    return directions


def pca_fvu(fitted: Gathered, x: Float[np.ndarray, "h d"], components: int) -> float:
    """FVU on ``x`` of PCA with so many components fitted on the training images."""
    directions = principal(fitted.scatter, components)
    centred = x - fitted.mean
    return fvu(x, fitted.mean + centred @ directions.T @ directions)


@torch.inference_mode()
def evaluate(sae: SAE, x: Float[np.ndarray, "h d"], fitted: Gathered) -> Metrics:
    """Metrics on held-out images; on one thread, because products round by the number of threads.

    Args:
        sae: The SAE.
        x: Activations of images of a role that the SAE was not trained on.
        fitted: What was gathered of the images that it was trained on.

    Raises:
        InputError: Fewer than two held-out images, or all alike: of them no variance can be had.
    """
    if len(x) < 2:
        raise InputError("too few held-out images to measure an SAE on", value=len(x), limit="≥ 2")
    if (x == x[0]).all():
        raise InputError("activations of the held-out images do not vary", value=f"{len(x)} images alike")
    with threadpool_limits(limits=1):
        x_hat, firing = [], 0
        for start in range(0, len(x), BATCH):
            z = sae.encode_dense(torch.from_numpy(x[start : start + BATCH]).to(sae.b_dec))
            firing += int((z > 0).sum())
            x_hat.append(sae.decode(z).cpu().numpy())
        l0 = firing / len(x)
        return Metrics(
            fvu=fvu(x, np.concatenate(x_hat)),
            l0=l0,
            dead_fraction=float(1 - fitted.fires.mean()),
            pca_fvu=pca_fvu(fitted, x, round(l0)),
            mean_fvu=fvu(x, np.broadcast_to(fitted.mean, x.shape)),
            images=len(x),
        )
