"""SAELens 6: ``cfg.json`` and ``sae_weights.safetensors``, its encoder stored [d, n]."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.activation import Activation, JumpReLU, TopK
from neuroconcepts_ray.sae.checkpoint import (
    CONFIG,
    Files,
    check_shapes,
    integer,
    part,
    read_config,
    read_tensors,
    refuse,
    unit_rows,
)
from neuroconcepts_ray.sae.model import SAE

WEIGHTS = "sae_weights.safetensors"
VERSION = "6.54.12"
"""The version whose configs are written; a config without one is read as one of before 6."""

VARIANTS = {
    "standard": "relu_l1",
    "topk": "topk",
    "batchtopk": "batchtopk",
    "matryoshka_batchtopk": "matryoshka",
    "jumprelu": "jumprelu",
    "gated": "gated",
}
"""Architectures that are read, and what each is called here."""

_NORMALISED = {
    "layer_norm": "each input is centred and scaled by itself, which no linear encoder does",
    "constant_norm_rescale": "each input is scaled by its own norm, which no linear encoder does",
    "expected_average_only_in": "it takes scaled activations, and the checkpoint does not hold by how much",
    "covariance_whitening": "it takes whitened activations, and the checkpoint does not hold the matrix",
}
_OLD_NAMES = {"activation_fn_str": "activation_fn", "hook_point": "hook_name"}


def read(files: Files) -> tuple[SAE, str]:
    """The SAE of a checkpoint, equal to SAELens' in codes (its decoder norms folded) and reconstructions.

    SAELens adds b_enc to (x − b_dec) W_enc or to x W_enc (``apply_b_dec_to_input``); the second is the first with
    b_enc + b_dec W_enc. Decoder rows become unit, codes multiplied by their norm (as its ``fold_W_dec_norm`` does),
    but for ``topk`` without ``rescale_acts_by_decoder_norm``, where that would choose other latents: rows stay as
    they are. Sums are in float64 and rounded once to float32.

    Args:
        files: ``cfg.json`` and ``sae_weights.safetensors``.

    Returns:
        The SAE, and the member of the family that it was trained as.

    Raises:
        InputError: A file is missing, damaged or a pickle; the tensors do not fit; or nothing here equals it.
    """
    config = _config(read_config(part(files, CONFIG), CONFIG))
    kind = config.get("architecture", "standard")
    _refuse(config, kind)
    d, n = integer(config, "d_in"), integer(config, "d_sae")
    tensors = _tensors(read_tensors(part(files, WEIGHTS), WEIGHTS))
    check_shapes(tensors, _want(kind, n, d), WEIGHTS)
    w = {name: tensor.double() for name, tensor in tensors.items()}
    W_enc, W_dec, b_dec = w["W_enc"].T, w["W_dec"], w["b_dec"]
    b_enc, theta = _bias_and_threshold(kind, w, n)
    if kind == "gated":
        W_enc = W_enc * w["r_mag"].exp()[:, None]
    rescaled = bool(config.get("rescale_acts_by_decoder_norm"))
    if kind != "topk" or rescaled:
        # The threshold of Batch TopK is one of pre‖d‖ where it was trained on these, and of pre where not.
        done = rescaled and kind in ("batchtopk", "matryoshka_batchtopk")
        W_dec, (W_enc, b_enc, folded) = unit_rows(W_dec, W_enc, b_enc, theta)
        theta = theta if done else folded
    if not config.get("apply_b_dec_to_input", True):
        b_enc = b_enc + W_enc @ b_dec
    activation: Activation = JumpReLU(theta.clamp_min(0).float())
    if kind == "topk":
        activation = TopK(integer(config, "k", limit=n))
    sae = SAE(W_enc.float().contiguous(), b_enc.float(), W_dec.float().contiguous(), b_dec.float(), activation)
    about = config.get("metadata")
    trained = about.get("training_architecture") if isinstance(about, Mapping) else None
    return sae, VARIANTS[trained if trained in VARIANTS else kind]


def write(sae: SAE, tap: str) -> dict[str, bytes]:
    """The files of a checkpoint that ``sae_lens.SAE.load_from_disk`` takes, with equal codes and reconstructions.

    Args:
        sae: The SAE.
        tap: The activations it reads; becomes ``hook_name``.
    """
    tensors = {"W_enc": sae.W_enc.T, "b_enc": sae.b_enc, "W_dec": sae.W_dec, "b_dec": sae.b_dec}
    config: dict[str, Any] = {
        "d_in": sae.d,
        "d_sae": sae.n,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": VERSION, "sae_lens_training_version": None, "hook_name": tap},
    }
    if isinstance(sae.activation, TopK):
        config |= {"architecture": "topk", "k": sae.activation.k, "rescale_acts_by_decoder_norm": False}
    else:
        config["architecture"] = "jumprelu"
        tensors["threshold"] = sae.activation.theta
    data = save({name: tensor.float().cpu().contiguous() for name, tensor in tensors.items()})
    return {CONFIG: json.dumps(config, indent=1).encode(), WEIGHTS: data}


def _config(raw: dict[str, Any]) -> dict[str, Any]:
    """The config as version 6 has it: earlier ones spelt TopK as an activation function, and other names."""
    about = raw.get("metadata")
    version = raw.get("sae_lens_version") or (about.get("sae_lens_version") if isinstance(about, Mapping) else None)
    if version and str(version).split(".")[0].isdigit() and int(str(version).split(".")[0]) >= 6:
        return raw
    config = {_OLD_NAMES.get(name, name): value for name, value in raw.items()}
    function = config.get("activation_fn") or "relu"
    arguments = config.get("activation_fn_kwargs") or {}
    if function == "topk" and isinstance(arguments, Mapping):
        config |= {"architecture": "topk", "k": arguments.get("k", config.get("k"))}
    elif function not in ("relu", "topk"):
        raise refuse("activation_fn", function, "this activation function is not ReLU or TopK")
    if isinstance(config.get("normalize_activations"), bool):
        config["normalize_activations"] = "expected_average_only_in" if config["normalize_activations"] else "none"
    return config


def _refuse(config: Mapping[str, Any], kind: object) -> None:
    if not isinstance(kind, str) or kind not in VARIANTS:
        raise refuse("architecture", kind, f"of architectures, {', '.join(VARIANTS)} are read")
    norm = config.get("normalize_activations") or "none"
    if norm != "none":
        why = _NORMALISED.get(str(norm), "this normalisation is not known")
        held_back = norm in ("expected_average_only_in", "covariance_whitening")
        remedy = "Fold it into the weights with SAELens (fold_activation_norm_scaling_factor, …) and save again"
        raise refuse("normalize_activations", norm, why, remedy if held_back else None)
    shape = config.get("reshape_activations") or "none"
    if shape not in ("none", "hook_z"):  # hook_z: heads side by side, which vectors of d_in numbers are already
        raise refuse("reshape_activations", shape, "this reshaping is not known")


def _tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names of earlier versions made new."""
    if "log_threshold" in tensors:
        tensors["threshold"] = tensors.pop("log_threshold").double().exp()
    scaling = tensors.pop("scaling_factor", None)
    if scaling is not None and not torch.equal(scaling, torch.ones_like(scaling)):
        raise InputError(
            "the checkpoint scales latents after training (scaling_factor), which no SAE here does", where=WEIGHTS
        )
    return tensors


def _want(kind: str, n: int, d: int) -> dict[str, tuple[int, ...]]:
    want: dict[str, tuple[int, ...]] = {"W_enc": (d, n), "W_dec": (n, d), "b_dec": (d,)}
    if kind == "gated":
        return want | {"b_gate": (n,), "b_mag": (n,), "r_mag": (n,)}
    want |= {"b_enc": (n,)}
    if kind == "jumprelu":
        want |= {"threshold": (n,)}
    if kind in ("batchtopk", "matryoshka_batchtopk"):
        want |= {"topk_threshold": ()}
    return want


def _bias_and_threshold(kind: str, w: Mapping[str, Tensor], n: int) -> tuple[Tensor, Tensor]:
    """b_enc and theta over pre-activations; for gated of exp(r) W_enc, whose gate opens above b_mag − exp(r) b_gate."""
    if kind == "gated":
        return w["b_mag"], (w["b_mag"] - w["r_mag"].exp() * w["b_gate"]).clamp_min(0)
    if kind == "jumprelu":
        return w["b_enc"], w["threshold"]
    if kind in ("batchtopk", "matryoshka_batchtopk"):
        return w["b_enc"], w["topk_threshold"].expand(n)
    return w["b_enc"], torch.zeros(n, dtype=torch.float64)
