"""Codes of an image from all its positions at once: each latent's largest activation, and where it was."""

from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt32
from torch import Tensor

from neuroconcepts_ray.activations.keep import Coder
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.sae.model import SAE, load_sae


def fused(
    sae: SAE, x: Float[Tensor, "p d"], top: int
) -> tuple[UInt32[np.ndarray, " k"], Float[np.ndarray, " k"], UInt32[np.ndarray, " k"]]:
    """Encode every position and keep, of the largest activation of each latent, the ``top`` largest.

    Args:
        sae: The SAE, on the device of ``x``.
        x: One image's vectors, by position.
        top: Latents that are kept; of equals the lower ones.

    Raises:
        ConfigError: The vectors are not as long as those that the SAE was fitted to.

    Returns:
        Latents that fire somewhere, ascending; their largest activation over positions; the first position that has it.
        Of vectors that are not finite, values that are not, for none would say so.
    """
    if x.shape[1] != sae.d:
        raise ConfigError(
            "the SAE was fitted to vectors of another length",
            value=x.shape[1],
            limit=sae.d,
            where="activations.sae",
            remedy="Take the module that it was fitted to; one that was fitted to pre_logits reads the last map",
        )
    if not bool(x.isfinite().all()):
        return np.zeros(1, np.uint32), np.full(1, np.nan, np.float32), np.zeros(1, np.uint32)
    largest = sae.encode_dense(x).max(dim=0)
    values, places = largest.values.cpu().numpy(), largest.indices.cpu().numpy()
    fires = np.flatnonzero(values > 0)
    kept = np.sort(fires[np.argsort(-values[fires], kind="stable")[:top]])
    return kept.astype(np.uint32), values[kept].astype(np.float32, copy=False), places[kept].astype(np.uint32)


def coder(lake: Lake, manifest: Manifest, device: torch.device) -> tuple[Coder, int]:
    """:func:`fused` of a finished SAE, and its number of latents n: what mining is given for taps ``:codes``.

    Args:
        lake: The lake.
        manifest: Of kind ``sae``.
        device: Where the vectors will be.
    """
    sae = load_sae(lake, manifest).to(device)
    return partial(fused, sae), sae.n
