"""The forward pass over one shard: fixed batches, placeholders for what did not load, nothing that is not finite."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8

from neuroconcepts_ray.classifier.model import Classifier
from neuroconcepts_ray.errors import InputError


def spread(array: UInt8[np.ndarray, "m c h w"], kept: Sequence[int], rows: int) -> UInt8[np.ndarray, "n c h w"]:
    """Put loaded images back at their row numbers, zeros in between.

    A batch is then made of the same rows whether or not a neighbour loaded, which leaves an image's bytes alone.
    """
    full = np.zeros((rows, *array.shape[1:]), dtype=np.uint8)
    full[list(kept)] = array
    return full


def extract(
    model: Classifier,
    images: UInt8[np.ndarray, "n c h w"],
    taps: Sequence[str],
    *,
    batch_size: int,
    dtype: str,
    reduction: str = "mean",
    tokens: str = "mean",
) -> dict[str, Float[np.ndarray, "n d"]]:
    """One float32 vector per image and tap.

    Args:
        model: In eval mode, on its device.
        images: All rows of a shard.
        taps: What is wanted; ``pre_logits`` and ``logits`` come in any case.
        batch_size: Rows of a forward pass.
        dtype: ``float32`` or ``bfloat16`` (autocast).
        reduction: See :meth:`Classifier.forward_taps`.
        tokens: See :meth:`Classifier.forward_taps`.
    """
    device = model.W.device
    found: dict[str, list[Float[np.ndarray, "b d"]]] = {}
    # Not inference_mode: in it autocast would round the weights anew for each batch.
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(images[start : start + batch_size]).to(device)
            for tap, rows in model.forward_taps(batch, taps, reduction=reduction, tokens=tokens).items():
                found.setdefault(tap, []).append(rows.float().cpu().numpy())
    return {tap: np.concatenate(parts) for tap, parts in found.items()}


def check_finite(tap: str, image_ids: Sequence[str], x: Float[np.ndarray, "n d"]) -> None:
    """Refuse values that are not finite.

    Raises:
        InputError: Names the tap and the first image.
    """
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise InputError(
            "an activation is not finite",
            value=f"{len(bad)} of {len(x)} images",
            where=f"tap {tap}, image {image_ids[bad[0]]}",
            remedy="Set activations.dtype=float32; if it is, the classifier itself overflows on this image",
        )
