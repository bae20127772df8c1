"""The forward pass over one shard: fixed batches, placeholders for what did not load, nothing that is not finite."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from neuroconcepts_ray.activations.patches import Windows
from neuroconcepts_ray.classifier.model import Classifier
from neuroconcepts_ray.errors import InputError


def spread(array: UInt8[np.ndarray, "m c h w"], kept: Sequence[int], rows: int) -> UInt8[np.ndarray, "n c h w"]:
    """Put loaded images back at their row numbers, zeros in between.

    A batch is then made of the same rows whether or not a neighbour loaded, which leaves an image's bytes alone.
    """
    full = np.zeros((rows, *array.shape[1:]), dtype=np.uint8)
    full[list(kept)] = array
    return full


def batches(
    forward: Callable[[UInt8[Tensor, "b c h w"], Any], dict[str, Float[Tensor, "b _"]]],
    images: UInt8[np.ndarray, "n c h w"] | Windows,
    asked: Callable[[slice], Any],
    *,
    batch_size: int,
    dtype: str,
    device: torch.device,
) -> Iterator[tuple[slice, dict[str, Float[np.ndarray, "b _"]]]]:
    """Fixed batches through a network.

    Args:
        forward: Takes films and what is asked of them.
        images: All rows of a shard, or their windows.
        asked: What is asked of a batch, given its rows.
        batch_size: Rows of a forward pass.
        dtype: ``float32`` or ``bfloat16`` (autocast).
        device: Where the network is.

    Yields:
        Rows, and what ``forward`` gave for them in float32.
    """
    # Not inference_mode: in it autocast would round the weights anew for each batch.
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        for start in range(0, len(images), batch_size):
            rows = slice(start, min(start + batch_size, len(images)))
            found = forward(torch.from_numpy(images[rows]).to(device), asked(rows))
            yield rows, {name: values.float().cpu().numpy() for name, values in found.items()}


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
        taps: Modules that are wanted; ``pre_logits`` and ``logits`` come in any case.
        batch_size: Rows of a forward pass.
        dtype: ``float32`` or ``bfloat16`` (autocast).
        reduction: See :meth:`Classifier.forward_taps`.
        tokens: See :meth:`Classifier.forward_taps`.
    """
    forward = partial(model.forward_taps, reduction=reduction, tokens=tokens)
    device = model.W.device
    parts = [x for _, x in batches(forward, images, lambda _: taps, batch_size=batch_size, dtype=dtype, device=device)]
    return {tap: np.concatenate([part[tap] for part in parts]) for tap in parts[0]} if parts else {}


def check_finite(tap: str, image_ids: Sequence[str], x: Shaped[np.ndarray, "n ..."], *, half: bool = False) -> None:
    """Refuse values that are not finite.

    Args:
        tap: The tap.
        image_ids: The image of each row.
        x: What is to be written.
        half: Whether it was cast to float16.

    Raises:
        InputError: Names the tap and the first image.
    """
    bad = np.flatnonzero(~np.isfinite(x).all(axis=tuple(range(1, x.ndim))))
    if len(bad):
        remedy = "Set activations.dtype=float32; if it is, the classifier itself overflows on this image"
        if half:
            remedy = f"Set activations.stored=float32, for float16 ends at 65,504. If it is: {remedy}"
        raise InputError(
            "an activation is not finite",
            value=f"{len(bad)} of {len(x)} images",
            where=f"tap {tap}, image {image_ids[bad[0]]}",
            remedy=remedy,
        )
