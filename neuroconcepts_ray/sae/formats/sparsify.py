"""sparsify (eai-sparsify 1.3): ``cfg.json`` and ``sae.safetensors``."""

import json

from safetensors.torch import save

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.checkpoint import (
    CONFIG,
    Files,
    check_shapes,
    integer,
    part,
    read_config,
    read_tensors,
    refuse,
)
from neuroconcepts_ray.sae.model import SAE

WEIGHTS = "sae.safetensors"


def read(files: Files) -> tuple[SAE, str]:
    """The SAE of a checkpoint, equal to sparsify's ``encode`` and ``decode``.

    Both take b_dec off the input, apply ReLU and keep the k largest. Decoder rows stay as they are: sparsify
    normalises them, and where it did not, other rows would choose other latents. ``multi_topk`` is a second loss of
    training over 4k latents (its ``forward`` then returns these); encoding keeps k all the same.

    Args:
        files: ``cfg.json`` and ``sae.safetensors``.

    Returns:
        The SAE, and ``topk``.

    Raises:
        InputError: A file is missing, damaged or a pickle; the tensors do not fit; or nothing here equals it.
    """
    config = read_config(part(files, CONFIG), CONFIG)
    kind = config.get("activation", "topk")
    if kind != "topk":
        raise refuse("activation", kind, "one latent of each group fires, not the k largest")
    for field, why in (
        ("transcode", "a transcoder predicts other activations than it reads"),
        ("skip_connection", "a linear map of the input is added to what the latents say"),
        ("signed", "latents of either sign fire"),
    ):
        if config.get(field):
            raise refuse(field, config[field], why)
    d = integer(config, "d_in")
    n = integer(config, "num_latents") if config.get("num_latents") else d * integer(config, "expansion_factor")
    tensors = read_tensors(part(files, WEIGHTS), WEIGHTS)
    check_shapes(tensors, {"encoder.weight": (n, d), "encoder.bias": (n,), "W_dec": (n, d), "b_dec": (d,)}, WEIGHTS)
    w = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    activation = TopK(integer(config, "k", limit=n))
    return SAE(w["encoder.weight"], w["encoder.bias"], w["W_dec"], w["b_dec"], activation), "topk"


def write(sae: SAE, tap: str) -> dict[str, bytes]:  # noqa: ARG001 - its config has no place for the tap
    """The files of a checkpoint that ``SparseCoder.load_from_disk`` takes, with equal codes and reconstructions.

    Args:
        sae: The SAE.
        tap: The activations it reads.

    Raises:
        InputError: The SAE has a threshold, which sparsify does not know.
    """
    if not isinstance(sae.activation, TopK):
        raise InputError(
            "sparsify knows TopK alone, and this SAE decides by thresholds (JumpReLU)",
            remedy="Export it with --to saelens",
        )
    tensors = {"encoder.weight": sae.W_enc, "encoder.bias": sae.b_enc, "W_dec": sae.W_dec, "b_dec": sae.b_dec}
    config = {
        "activation": "topk",
        "expansion_factor": max(1, sae.n // sae.d),
        "normalize_decoder": bool(((sae.W_dec.norm(dim=1) - 1).abs() < 1e-4).all()),
        "num_latents": sae.n,
        "k": sae.activation.k,
        "multi_topk": False,
        "skip_connection": False,
        "transcode": False,
        "d_in": sae.d,
    }
    data = save({name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()})
    return {CONFIG: json.dumps(config, indent=1).encode(), WEIGHTS: data}
