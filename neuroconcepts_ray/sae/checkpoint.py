"""An SAE in files, ours or another library's: its config and its tensors, each checked before use."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from neuroconcepts_ray.errors import InputError

CONFIG = "cfg.json"
PICKLED = (b"\x80", b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")
"""How a pickle begins, and a zip of torch.save, and what either may be packed in."""

Files = Mapping[str, bytes]
"""A checkpoint: what its files hold, by name."""


def part(files: Files, name: str) -> bytes:
    """One file of a checkpoint.

    Raises:
        InputError: It is not there.
    """
    if name not in files:
        raise InputError(f"the checkpoint has no {name}", value=", ".join(sorted(files)) or "no files")
    return files[name]


def read_config(data: bytes, where: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: It is none.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError("this is not JSON", where=where) from error
    if not isinstance(found, dict):
        raise InputError("the JSON is no object", value=type(found).__name__, where=where)
    return found


def refuse_pickle(start: bytes, where: str) -> None:
    """Refuse a pickle by how it begins; it is never opened.

    A safetensors file begins with eight bytes of a length, which may be anything, and then with ``{``.

    Args:
        start: The first nine bytes of a file.
        where: Its name.

    Raises:
        InputError: It is a pickle, or packed as pickles are.
    """
    if start.startswith(PICKLED) and start[8:9] != b"{":
        raise InputError(
            "this is a pickle (or an archive that may hold one), and a pickle is code: it is not opened",
            where=where,
            limit="safetensors",
            remedy="Save the SAE as safetensors with the library that made it, where the file is trusted",
        )


def read_tensors(data: bytes, where: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file, in the arithmetic they are stored in.

    Raises:
        InputError: It is a pickle, or not safetensors, or has values that are not finite or not floating.
    """
    refuse_pickle(data[:9], where)
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError("not a safetensors file", value=str(error)[:200], where=where) from error
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
            raise InputError("a tensor is not of finite floating numbers", value=name, where=where)
    return tensors


def check_shapes(tensors: Mapping[str, Tensor], want: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse tensors that are not exactly those wanted.

    Raises:
        InputError: Names what is missing, left over or of another shape.
    """
    got = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wrong = [f"{name} {got[name]}, not {shape}" for name, shape in want.items() if got.get(name, shape) != shape]
    wrong += [f"{name} is missing" for name in want if name not in got]
    wrong += [f"{name} is not known" for name in got if name not in want]
    if wrong:
        raise InputError("these are not the weights that the config promises", value="; ".join(wrong), where=where)


def integer(config: Mapping[str, Any], name: str, limit: int | None = None, where: str = CONFIG) -> int:
    """A whole number of at least one out of a config.

    Args:
        config: The config.
        name: Its field.
        limit: The largest allowed.
        where: The config's file.

    Raises:
        InputError: Missing, or not such a number.
    """
    value: Any = config.get(name)
    whole = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and value.is_integer()
    )
    if not whole or value < 1 or (limit is not None and value > limit):
        allowed = "a whole number ≥ 1" if limit is None else f"1…{limit}"
        raise InputError(f"{name} is not right", value=value, limit=allowed, where=where)
    return int(value)


def refuse(field: str, value: object, why: str, remedy: str | None = None) -> InputError:
    """The error for a checkpoint that no SAE here equals: the field of the config, its value, and why."""
    return InputError(
        f"{why}: no SAE here would be equal to it", value=f"{field} = {value}", where=CONFIG, remedy=remedy
    )


def unit_rows(
    W_dec: Float[Tensor, "n d"], *per_latent: Float[Tensor, "n ..."]
) -> tuple[Float[Tensor, "n d"], list[Float[Tensor, "n ..."]]]:
    """Decoder rows of unit norm, and what makes codes multiplied by the norm instead.

    z_j d_j = (z_j‖d_j‖)(d_j/‖d_j‖), and pre_j‖d_j‖ is had by multiplying row j of the encoder, its bias and its
    threshold. Exact where latents fire each by itself (ReLU, JumpReLU); TopK ranks by pre_j, so there only where the
    ranking was by pre_j‖d_j‖ already. A row of zeros stays, and its latent never fires.

    Args:
        W_dec: Decoder.
        per_latent: Encoder, biases and thresholds, one row or number a latent.
    """
    norm = torch.linalg.vector_norm(W_dec, dim=1)
    unit = W_dec / torch.where(norm > 0, norm, 1)[:, None]
    return unit, [one * norm.reshape(-1, *[1] * (one.ndim - 1)) for one in per_latent]
