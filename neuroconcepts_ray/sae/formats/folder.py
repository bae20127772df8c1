"""Checkpoints as folders: read with what is wrong said, written whole or not at all."""

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, InputError
from neuroconcepts_ray.sae.checkpoint import CONFIG, refuse_pickle

_PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".zip")


def read_folder(folder: Path, weights: str) -> dict[str, bytes]:
    """The two files of a checkpoint.

    Args:
        folder: The folder.
        weights: The name of the file of tensors.

    Raises:
        ConfigError: There is no such folder.
        InputError: A pickle was given instead, or a file is missing.
        EnvironmentFault: It cannot be read.
    """
    try:
        if folder.is_file():
            with folder.open("rb") as file:
                refuse_pickle(file.read(9), folder.name)
            raise ConfigError(
                "a checkpoint is a folder", value=folder, remedy=f"Give the one of {CONFIG} and {weights}"
            )
        if not folder.is_dir():
            raise ConfigError("the folder of the checkpoint does not exist", value=folder)
        names = sorted(path.name for path in folder.iterdir())
        if weights not in names:
            _explain(folder, names, weights)
        return {name: (folder / name).read_bytes() for name in (CONFIG, weights) if name in names}
    except OSError as error:
        if isinstance(error, EnvironmentFault):
            raise
        raise EnvironmentFault(f"the checkpoint cannot be read: {error.strerror}", value=folder) from error


def _explain(folder: Path, names: list[str], weights: str) -> None:
    """Say what the folder has instead of its file of tensors."""
    for name in names:
        if name.endswith(_PICKLES) and (folder / name).is_file():
            with (folder / name).open("rb") as file:
                refuse_pickle(file.read(9), name)
    inner = [name for name in names if (folder / name / CONFIG).is_file()]
    raise InputError(
        f"the folder has no {weights}",
        value=", ".join(names[:5]) or "nothing",
        remedy=f"It has checkpoints in {', '.join(inner[:5])}: give one of these" if inner else None,
    )


def check_free(folder: Path) -> None:
    """Refuse to write over anything.

    Raises:
        ConfigError: The folder is there and not empty, or is a file.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError(
            "the folder to write is there already", value=folder, where="--out", remedy="Give another, or remove it"
        )


def write_folder(files: Mapping[str, bytes], folder: Path) -> None:
    """Write a folder, whole or not at all.

    Args:
        files: What its files hold, by name.
        folder: The folder.

    Raises:
        ConfigError: The folder is there already.
        EnvironmentFault: It cannot be written.
    """
    check_free(folder)
    temporary = folder.parent / f".{folder.name}-{uuid.uuid4().hex[:12]}.tmp"
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        temporary.rename(folder)
    except OSError as error:
        raise EnvironmentFault(
            f"the folder cannot be written: {error.strerror}", value=folder, where="--out"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
