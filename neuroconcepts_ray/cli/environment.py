"""What doctor looks at of the environment: versions, libraries that clash, Ray, space, decoders."""

import importlib.metadata
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from packaging.requirements import Requirement

import neuroconcepts_ray
from neuroconcepts_ray.errors import NeuroconceptsError
from neuroconcepts_ray.retrieval import faiss_guard

State = Literal["ok", "warn", "fail"]

GB = 1_000_000_000

DICOM = ("pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "pyjpegls")
"""Decoders of what is compressed inside DICOM."""


@dataclass(frozen=True)
class Line:
    """One thing that was looked at.

    Attributes:
        name: What.
        state: ``ok``, ``warn`` or ``fail``.
        said: What was found.
        remedy: What to do; never empty where the state is not ok.
    """

    name: str
    state: State
    said: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.state != "ok" and not self.remedy:
            raise ValueError(f"{self.name}: what is wrong needs a remedy")


def broken(name: str, error: NeuroconceptsError, remedy: str) -> Line:
    """The line of a check that raised; ``remedy`` where the error has none."""
    return Line(name, "fail", error.what + (f" (got {error.value})" if error.value else ""), error.remedy or remedy)


def environment() -> Iterator[Line]:
    """All lines about this machine and its installation; Ray's variables are set already."""
    for check in (_python, _versions, _torch, _faiss, _ray, _space, _decoders):
        yield from check()


def _python() -> Iterator[Line]:
    # Older ones cannot import this at all.
    found = f"{platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    yield Line("python", "ok", found)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions() -> Iterator[Line]:
    needed = [Requirement(text) for text in importlib.metadata.requires("neuroconcepts-ray") or []]
    needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    good = 0
    for one in needed:
        found = _installed(one.name)
        if found is not None and one.specifier.contains(found, prereleases=True):
            good += 1
        else:
            yield Line(one.name, "fail", f"{found or 'not installed'}; needs {one.specifier}", f"pip install '{one}'")
    yield Line("versions", "ok", f"{good} of {len(needed)} required packages are of a version that works")
    file = Path(neuroconcepts_ray.__file__).parents[1] / "constraints.txt"
    if not file.is_file():
        yield Line("tested versions", "ok", "no constraints.txt beside this installation to compare with")
        return
    pins = dict(line.split("==", 1) for line in file.read_text(encoding="utf-8").split() if "==" in line)
    other = [
        f"{name} {_installed(name)} ({pin})"
        for name, pin in pins.items()
        if _installed(name) is not None and str(_installed(name)).partition("+")[0] != pin.partition("+")[0]
    ]
    if other:
        shown = ", ".join(other[:5]) + (f" and {len(other) - 5} more" if len(other) > 5 else "")
        yield Line(
            "tested versions", "warn", f"others than tested: {shown}", f"pip install -c {file} neuroconcepts-ray"
        )
    else:
        yield Line("tested versions", "ok", "all as in constraints.txt")


def _torch() -> Iterator[Line]:
    try:
        import torch

        from neuroconcepts_ray.activations.config import native_dtype
    except ImportError as error:
        yield Line("torch", "fail", type(error).__name__, "pip install torch torchvision")
        return
    threads, cpus = torch.get_num_threads(), os.cpu_count() or 1
    bf16 = "bfloat16 natively" if native_dtype() == "bfloat16" else "float32 (no native bfloat16)"
    said = f"{torch.__version__}, {threads} threads, computes in {bf16}"
    if threads < min(2, cpus):
        yield Line("torch", "warn", said, "Unset OMP_NUM_THREADS, or set it to the number of cores")
    else:
        yield Line("torch", "ok", said)


def _faiss() -> Iterator[Line]:
    try:
        name = faiss_guard.check()
        yield Line("faiss", "ok", f"{name} {faiss_guard.load().__version__}, and no other")
    except NeuroconceptsError as error:
        yield broken("faiss", error, "pip install 'neuroconcepts-ray[cpu]'")


def _ray() -> Iterator[Line]:
    mode = os.environ["RAY_AUTH_MODE"]
    if mode == "token" and not (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        home = Path.home() / ".ray" / "auth_token"
        if not home.is_file():
            yield Line(
                "ray", "fail", "RAY_AUTH_MODE=token, and no token", "Set RAY_AUTH_TOKEN, or RAY_AUTH_MODE=disabled"
            )
            return
    yield Line("ray", "ok", f"{_installed('ray')}, RAY_AUTH_MODE={mode}")
    address = os.environ.get("RAY_ADDRESS")
    if not address or address in ("auto", "local"):
        yield Line("RAY_ADDRESS", "ok", f"{address or 'not set'}: a command starts or finds a local cluster")
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 6379), 3):
            yield Line("RAY_ADDRESS", "ok", f"{address} answers")
    except (OSError, ValueError):
        yield Line("RAY_ADDRESS", "fail", f"{address} does not answer", "Start the cluster, or unset RAY_ADDRESS")


def _space() -> Iterator[Line]:
    shared = Path("/dev/shm")  # noqa: S108 - Ray's own choice
    if shared.is_dir():
        total = shutil.disk_usage(shared).total
        said = f"{total / GB:.1f} GB"
        if total < 2 * GB:
            yield Line(
                str(shared), "warn", f"{said}: Ray falls back to disk", "Give the container --shm-size=2g or more"
            )
        else:
            yield Line(str(shared), "ok", said)
    place = Path(os.environ.get("RAY_TMPDIR") or "/tmp")  # noqa: S108 - Ray's own choice
    usage = shutil.disk_usage(place) if place.is_dir() else None
    if usage is None:
        yield Line("Ray's /tmp", "fail", f"{place} is no folder", "Make it, or set RAY_TMPDIR to another")
    elif usage.free < 0.05 * usage.total:
        yield Line(
            "Ray's /tmp", "fail", f"{usage.free / GB:.1f} GB free, less than 5 %: Ray refuses", f"Free space in {place}"
        )
    elif usage.free < 5 * GB:
        yield Line("Ray's /tmp", "warn", f"{usage.free / GB:.1f} GB free", f"Free space in {place}, or set RAY_TMPDIR")
    else:
        yield Line("Ray's /tmp", "ok", f"{usage.free / GB:.1f} GB free")


def _decoders() -> Iterator[Line]:
    from PIL import features

    lacking = [what for what, codec in (("JPEG", "jpg"), ("PNG", "zlib")) if not features.check(codec)]
    if lacking:
        yield Line("decoders", "fail", f"Pillow lacks {', '.join(lacking)}", "pip install --force-reinstall pillow")
    else:
        yield Line("decoders", "ok", f"JPEG, PNG (Pillow {_installed('pillow')})")
    missing = [name for name in DICOM if _installed(name) is None]
    if missing:
        said = f"without {', '.join(missing)}: compressed DICOM is set aside"
        yield Line("DICOM decoders", "warn", said, "pip install 'neuroconcepts-ray[dicom]' (part of it is GPL-3)")
    else:
        yield Line("DICOM decoders", "ok", "JPEG, JPEG lossless, JPEG-LS, JPEG 2000")
