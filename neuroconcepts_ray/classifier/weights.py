"""A file of weights as tensors by name: never any code out of it, and one clear error where it does not fit.

``.pth`` and ``.pt`` files are pickles, which may run code when they are read. Only tensors are read here (torch's
``weights_only``), and what else a file refers to is listed from its opcodes before anything is read.
"""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, InputError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "state_dict_ema")
"""Keys under which a checkpoint may hold the tensors."""

PARALLEL = "module."
"""What DataParallel puts before every name."""

FEW = 4
"""Names that an error lists."""

_SAVE = "Save the tensors alone, where the file is trusted: torch.save(model.state_dict(), 'weights.pth')"

# torchvision's and CheXNet's older files have names with dots that modules may no longer have.
_OLD_DENSENET = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))$")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pth``, ``.pt`` or ``.safetensors`` file, on the CPU; which it is, its bytes tell.

    Args:
        path: The file.

    Returns:
        Tensors by name: a checkpoint is unwrapped, ``module.`` is taken off, old DenseNet names are made new.

    Raises:
        ConfigError: There is no such file.
        InputError: It is damaged, holds code, a whole module or TorchScript, or no tensors.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError as error:
        raise ConfigError("the file of weights does not exist", value=path) from error
    except IsADirectoryError as error:
        raise ConfigError("the weights are a folder", value=path, remedy="Give the file") from error
    except OSError as error:
        raise EnvironmentFault(f"the file of weights cannot be read: {error.strerror}", value=path) from error
    if not start:
        raise InputError("the file of weights is empty", where=path.name)
    if start[8:] == b"{" or path.suffix == ".safetensors":
        return _named(_read_safetensors(path), path)
    if start.startswith(b"PK\x03\x04"):
        _check_zip(path)
    elif not start.startswith(b"\x80"):
        raise InputError(
            "this is no file of weights", value=path.name, limit="safetensors, or what torch.save writes (.pth, .pt)"
        )
    return _named(_read_torch(path), path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            "the safetensors file is damaged, or not what it claims to be",
            value=str(error)[:200],
            where=path.name,
            remedy="Copy it again from where it comes from",
        ) from error


def _check_zip(path: Path) -> None:
    """Look into a zip before torch does: whole, not TorchScript, nothing that unpacks to more than it is, no code."""
    damaged = InputError(
        "the file of weights is truncated or damaged",
        where=path.name,
        remedy="Copy it again from where it comes from, and compare its size",
    )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise damaged from error
    names = [entry.filename.partition("/")[2] for entry in entries]
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise InputError(
            "the file is TorchScript: code and tensors in one, and code from a file is never run",
            where=path.name,
            remedy="Save its tensors alone, where the file is trusted: torch.save(torch.jit.load(path).state_dict(), "
            "'weights.pth')",
        )
    if "data.pkl" not in names:
        raise InputError("the zip file is none that torch.save wrote", where=path.name, remedy=_SAVE)
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise InputError(
            "the file of weights claims to hold more than it is long",
            value=f"{sum(entry.file_size for entry in entries)} bytes",
            limit=f"{path.stat().st_size} bytes",
            where=path.name,
        )
    try:
        more = sorted(get_unsafe_globals_in_checkpoint(path))
    except (RuntimeError, ValueError, KeyError, IndexError, EOFError, pickle.UnpicklingError) as error:
        raise damaged from error
    if more:
        raise _code(more, path)


def _code(found: Sequence[str], path: Path) -> InputError:
    whole = any(re.match(r"torch\.nn\.|torchvision\.models\.|timm\.(models|layers)\.", name) for name in found)
    return InputError(
        "the file holds a whole pickled module, which only its own code could read; code from a file is never run"
        if whole
        else "the file holds more than tensors, and code from a file is never run",
        value=", ".join(found[:FEW]) + (f" and {len(found) - FEW} more" if len(found) > FEW else ""),
        where=path.name,
        remedy=_SAVE,
    )


def _read_torch(path: Path) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickle protocols; what cannot be read is an error anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # hostile bytes make the reader raise anything
        named = re.findall(r"GLOBAL ([\w.]+)", str(error))
        if named:  # whatever is not plain data has to be named first
            raise _code(named, path) from error
        raise InputError(
            "the file of weights is truncated or damaged",
            value=type(error).__name__,
            where=path.name,
            remedy="Copy it again from where it comes from, and compare its size",
        ) from error


def _named(found: object, path: Path) -> dict[str, Tensor]:
    """The tensors by name, out of a checkpoint that may hold more."""
    for _ in range(2):
        if not isinstance(found, Mapping):
            break
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    entries = dict(found) if isinstance(found, Mapping) else {}
    tensors = {name: value for name, value in entries.items() if isinstance(name, str) and _plain(value)}
    if not tensors or len(tensors) < len(entries):
        others = [str(name) for name in entries if name not in tensors]
        raise InputError(
            "the file is no table of tensors by name",
            value=f"{', '.join(others[:FEW])} are none" if others else type(found).__name__,
            where=path.name,
            remedy=f"{_SAVE}; a checkpoint may hold them under {', '.join(WRAPPERS[:3])}",
        )
    if all(name.startswith(PARALLEL) for name in tensors):
        tensors = {name.removeprefix(PARALLEL): value for name, value in tensors.items()}
    return {_OLD_DENSENET.sub(r"\1\2", name): value for name, value in tensors.items()}


def _plain(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def without(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with a prefix taken off those names that have it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items()}


def fitted(tensors: Mapping[str, Tensor], fresh: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """Tensors exactly as a network takes them: float32 where it is, none missing, none left over, each of its shape.

    Counters of batch norm (``num_batches_tracked``), which older files lack and inference does not read, may be absent.

    Args:
        tensors: What a file holds.
        fresh: What the network has.
        head: Name of its head.

    Raises:
        InputError: They do not fit: how many are missing, unexpected and of another shape, with the first of each.
    """
    given = {name: fresh[name] for name in fresh if name.endswith(".num_batches_tracked")} | dict(tensors)
    missing = [name for name in fresh if name not in given]
    unexpected = [name for name in given if name not in fresh]
    shapes = {name: (list(given[name].shape), list(fresh[name].shape)) for name in fresh if name in given}
    misshapen = [name for name, (found, wanted) in shapes.items() if found != wanted]
    if misshapen and not missing and not unexpected and {name.rpartition(".")[0] for name in misshapen} == {head}:
        found, wanted = shapes[misshapen[0]]
        raise InputError(
            f"the file has {found[0]} outputs ({head}), but {wanted[0]} labels are given",
            value=f"{misshapen[0]} {found}",
            limit=wanted,
            remedy=f"Give the {found[0]} labels in the order of its outputs",
        )
    if missing or unexpected or misshapen:
        parts = [_few("missing", missing), _few("unexpected", unexpected)]
        parts.append(_few("of another shape", [f"{n} {shapes[n][0]} not {shapes[n][1]}" for n in misshapen]))
        raise InputError(
            f"the tensors do not fit the network: {'; '.join(part for part in parts if part)}",
            remedy=_advice(given, missing, unexpected),
        )
    return {name: given[name].detach().to(value.dtype).clone().contiguous() for name, value in fresh.items()}


def _few(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > FEW else ""
    return f"{len(names)} {what} ({', '.join(names[:FEW])}{more})"


def _advice(given: Mapping[str, Tensor], missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """What would make them fit: a prefix that all names have, or else another network."""
    first = next(iter(unexpected), "")
    for target in missing:
        prefix = first.removesuffix(target)
        if prefix != first and prefix.endswith(".") and all(name.startswith(prefix) for name in unexpected):
            return f"All names begin with {prefix}: give --prefix {prefix}"
    return f"The file has {len(given)} tensors: give the network that it was saved from (--timm, --factory, --kwargs)"
