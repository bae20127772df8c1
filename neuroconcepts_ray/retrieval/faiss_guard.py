"""The one door to FAISS: exactly one distribution may own the module ``faiss``, and the error names the fix."""

import functools
import re
from importlib import import_module, metadata
from typing import Any

from neuroconcepts_ray.errors import EnvironmentFault

_OWNS_FAISS = re.compile(r"faiss(-(cpu|gpu)(-[a-z0-9-]+)?)?")
_INSTALL = "pip install 'neuroconcepts-ray[cpu]' (or [gpu] on Linux x86-64 with CUDA)"


def installed() -> list[str]:
    """Names of the installed distributions that own the module ``faiss``, sorted."""
    names = (re.sub(r"[-_.]+", "-", str(dist.metadata["Name"] or "")).lower() for dist in metadata.distributions())
    return sorted({name for name in names if _OWNS_FAISS.fullmatch(name)})


def check() -> str:
    """The one distribution that is installed.

    Raises:
        EnvironmentFault: There is none, or there is more than one: they overwrite each other's files.
    """
    found = installed()
    if not found:
        raise EnvironmentFault("FAISS is not installed, and search needs it", remedy=_INSTALL)
    if len(found) > 1:
        raise EnvironmentFault(
            "several FAISS distributions are installed and overwrite each other's files",
            value=", ".join(found),
            limit="exactly one",
            remedy=f"pip uninstall -y {' '.join(found)}, then {_INSTALL}",
        )
    return found[0]


@functools.cache
def load() -> Any:
    """The module ``faiss``, checked once per process.

    Raises:
        EnvironmentFault: See :func:`check`; or the one that is installed cannot be imported.
    """
    name = check()
    try:
        faiss: Any = import_module("faiss")
        import_module("faiss.contrib.ivf_tools")
    except (ImportError, OSError) as error:
        raise EnvironmentFault(
            "FAISS is installed but cannot be imported",
            value=f"{name}: {error}",
            remedy=f"pip uninstall -y {name}, then {_INSTALL}",
        ) from error
    return faiss
