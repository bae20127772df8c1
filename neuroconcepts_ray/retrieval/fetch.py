"""Segments come to local disk once, are checked then, and are mapped from there ever after.

A digest over 145 MB takes 80 ms, so it is taken when a file is fetched, not at every open. A lake on local disk is not
copied: its file is checked in place, and what was checked (size, time of change) is remembered beside the cache.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Collection
from pathlib import Path

from neuroconcepts_ray.errors import DigestError, EnvironmentFault, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Part

_REDO = "Restore it from a copy, or run `index` again in a fresh lake"


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/neuroconcepts``, or ``~/.cache/neuroconcepts``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "neuroconcepts"


def fetch(lake: Lake, part: Part, cache: Path, look: Callable[[Path], None] | None = None) -> Path:
    """A local file with exactly the bytes of a part.

    Args:
        lake: The lake.
        part: The part.
        cache: Folder for what has been fetched and checked.
        look: A further check of the file, made once as well; raises where it fails.

    Raises:
        InputError: The part is gone.
        DigestError: Its bytes are not those that were committed.
        EnvironmentFault: The cache cannot be written.
    """
    store = lake.root(part.root)
    local = store.local_path(part.key)
    seen = cache / f"{part.sha256}.json"
    if local is not None:
        if _stamp(local) != _read(seen, str(local)):
            _check(local, part)
            if look is not None:
                look(local)
            _write(seen, json.dumps({str(local): _stamp(local)}).encode())
        return local
    copy = cache / f"{part.sha256}.bin"
    if copy.is_file() and _stamp(copy) == _read(seen, copy.name):
        return copy
    _write(copy, lake.read(part))
    if look is not None:
        look(copy)
    _write(seen, json.dumps({copy.name: _stamp(copy)}).encode())
    return copy


def stale(cache: Path, known: Collection[str], before: float) -> list[tuple[Path, int]]:
    """Files of a cache that no part is known for and that nobody has used for long, with their sizes.

    Args:
        cache: Folder for what has been fetched and checked.
        known: SHA-256 of all parts of the lake; another lake's may be cached here too, hence ``before``.
        before: Time of the last use, seconds since 1970.
    """
    found = []
    for path in sorted(cache.glob("*")) if cache.is_dir() else []:
        stat = path.stat()
        ours = path.suffix in (".bin", ".json", ".tmp") and path.stem not in known
        if ours and max(stat.st_atime, stat.st_mtime) < before:
            found.append((path, stat.st_size))
    return found


def _stamp(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return []
    return [stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _read(seen: Path, name: str) -> list[int] | None:
    try:
        known = json.loads(seen.read_bytes())
        return known.get(name) if isinstance(known, dict) else None
    except (OSError, ValueError):
        return None


def _check(path: Path, part: Part) -> None:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise InputError("a committed part is missing", where=part.key, remedy=_REDO) from error
    if digest != part.sha256:
        raise DigestError("a committed part was altered", where=part.key, remedy=_REDO)


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, for several processes share the cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentFault(
            "the cache of the index cannot be written",
            value=os.strerror(error.errno) if error.errno else type(error).__name__,
            where=str(path.parent),
            remedy="Set index.cache to a folder that this user may write",
        ) from error
