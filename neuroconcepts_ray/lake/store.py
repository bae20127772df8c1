"""Where bytes live: four verbs and one promise, ``create`` succeeds for exactly one writer.

The promise is what commits stand on. Every store passes the suite in ``tests/contract/store.py``.
"""

import contextlib
import errno
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.=-]*\Z")

SCRATCH = re.compile(r"\.[0-9a-f]{32}\.tmp\Z")
"""Name of a file that a writer has not finished; what is left of one that died."""


@dataclass(frozen=True)
class Blob:
    """Bytes in a store, as its listing has them.

    Attributes:
        key: Their key.
        bytes: Their size.
        modified: When they were written: seconds since 1970 by the store's clock.
    """

    key: str
    bytes: int
    modified: float


class Store(Protocol):
    """A flat namespace of immutable byte strings under keys such as ``refs/main/1.json``."""

    uri: str

    def read(self, key: str) -> bytes:
        """The bytes of ``key``; FileNotFoundError where there are none."""

    def write(self, key: str, data: bytes) -> None:
        """Put whole bytes under a key that nobody else writes; never visible in part."""

    def create(self, key: str, data: bytes) -> None:
        """Put whole bytes only where none are; FileExistsError for all writers but one."""

    def exists(self, key: str) -> bool:
        """Whether ``key`` holds bytes."""

    def list(self, prefix: str) -> Iterator[str]:
        """The keys that start with the folder ``prefix``, sorted."""

    def scan(self, prefix: str = "") -> Iterator[Blob]:
        """All that starts with the folder ``prefix``, sorted, with size and time; what dead writers left included."""

    def delete(self, key: str) -> None:
        """Remove ``key``; nothing happens where it is absent."""

    def delete_tree(self, prefix: str) -> None:
        """Remove all that starts with the folder ``prefix``, whatever it is called."""

    def local_path(self, key: str) -> Path | None:
        """A file that holds the bytes (for memory-mapping), where the store has files."""


def check_key(key: str) -> str:
    """Refuse a key that could leave the store's root.

    Raises:
        ConfigError: Empty, absolute, hidden or upward segments, or characters outside ``[A-Za-z0-9_.=-]``.
    """
    if not all(_SEGMENT.match(part) for part in key.split("/")):
        raise ConfigError("not a key of the lake", value=repr(key), limit="segments of A-Z a-z 0-9 _ . = -")
    return key


@contextlib.contextmanager
def _faults(key: str, root: Path) -> Iterator[None]:
    """Name the faults of a disk that a user can mend."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        remedy = {
            errno.ENOSPC: "Free space or choose a larger disk, then run the same command again: work done is kept",
            errno.EDQUOT: "Raise the quota and run the same command again: work done is kept",
            errno.EACCES: "Give this user write permission there",
            errno.EROFS: "The disk is mounted read-only",
        }.get(error.errno or 0, "Run the same command again once the disk answers")
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise EnvironmentFault(f"the lake's disk failed: {reason}", where=f"{root}/{key}", remedy=remedy) from error


class LocalStore:
    """A folder of a local or shared POSIX file system.

    Args:
        root: The folder; made on first write.
        mode: Permission bits of folders that are made; without bits for others, files are private too, and a root
            that is open to others is closed before anything is written.
    """

    def __init__(self, root: Path, mode: int = 0o755) -> None:
        self.root = root.absolute()
        self.uri = str(self.root)
        self._mode = mode
        self._private = not mode & 0o077

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _make_parent(self, path: Path) -> None:
        self.root.parent.mkdir(parents=True, exist_ok=True)
        if self._private and self.root.exists() and self.root.stat().st_mode & 0o077:
            self.root.chmod(self._mode)
        missing = [p for p in (path.parent, *path.parent.parents) if p.is_relative_to(self.root) and not p.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=self._mode, exist_ok=True)

    def _temporary(self, path: Path, data: bytes) -> Path:
        self._make_parent(path)
        temporary = path.parent / f".{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "xb", opener=self._opener) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _opener(self, path: str, flags: int) -> int:
        return os.open(path, flags, 0o600 if self._private else 0o666)

    def read(self, key: str) -> bytes:
        """See :class:`Store`."""
        with _faults(key, self.root):
            return self._path(key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """See :class:`Store`."""
        path = self._path(key)
        with _faults(key, self.root):
            self._temporary(path, data).replace(path)

    def create(self, key: str, data: bytes) -> None:
        """See :class:`Store`; an exclusive hard link, so that a key never holds half its bytes."""
        path = self._path(key)
        with _faults(key, self.root):
            if path.exists():
                raise FileExistsError(key)
            temporary = self._temporary(path, data)
            try:
                os.link(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)

    def exists(self, key: str) -> bool:
        """See :class:`Store`."""
        return self._path(key).is_file()

    def list(self, prefix: str) -> Iterator[str]:
        """See :class:`Store`."""
        base = self._path(prefix.rstrip("/"))
        start = len(str(self.root)) + 1
        # A sixteenth of the time of pathlib's walk, which asks for the state of each file.
        found = (f"{at}/{name}" for at, _, names in os.walk(base) for name in names if not name.startswith("."))
        yield from sorted(path[start:] for path in found)

    def scan(self, prefix: str = "") -> Iterator[Blob]:
        """See :class:`Store`."""
        base = self._path(prefix.rstrip("/")) if prefix else self.root
        start = len(str(self.root)) + 1
        found = []
        for at, _, names in os.walk(base):
            for name in names:
                if name.startswith(".") and not SCRATCH.match(name):
                    continue
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    stat = os.stat(f"{at}/{name}")  # noqa: PTH116 - pathlib takes many times as long
                    found.append(Blob(f"{at}/{name}"[start:], stat.st_size, stat.st_mtime))
        yield from sorted(found, key=lambda blob: blob.key)

    def delete(self, key: str) -> None:
        """See :class:`Store`."""
        folder, _, name = key.rpartition("/")
        path = self._path(folder) / name if folder and SCRATCH.match(name) else self._path(key)
        with _faults(key, self.root):
            path.unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        """See :class:`Store`."""
        with _faults(prefix, self.root), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._path(prefix.rstrip("/")))

    def local_path(self, key: str) -> Path | None:
        """See :class:`Store`."""
        path = self._path(key)
        return path if path.is_file() else None


class MemoryStore:
    """Bytes in this process: for tests and notebooks; Ray workers cannot see it."""

    def __init__(self, uri: str = "memory://") -> None:
        self.uri = uri
        self._bytes: dict[str, bytes] = {}
        self._times: dict[str, float] = {}
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes:
        """See :class:`Store`."""
        try:
            return self._bytes[check_key(key)]
        except KeyError:
            raise FileNotFoundError(key) from None

    def write(self, key: str, data: bytes) -> None:
        """See :class:`Store`."""
        with self._lock:
            self._bytes[check_key(key)] = bytes(data)
            self._times[key] = time.time()

    def create(self, key: str, data: bytes) -> None:
        """See :class:`Store`."""
        with self._lock:
            if check_key(key) in self._bytes:
                raise FileExistsError(key)
            self._bytes[key] = bytes(data)
            self._times[key] = time.time()

    def exists(self, key: str) -> bool:
        """See :class:`Store`."""
        return check_key(key) in self._bytes

    def list(self, prefix: str) -> Iterator[str]:
        """See :class:`Store`."""
        folder = check_key(prefix.rstrip("/")) + "/"
        yield from sorted(key for key in list(self._bytes) if key.startswith(folder))

    def scan(self, prefix: str = "") -> Iterator[Blob]:
        """See :class:`Store`."""
        folder = check_key(prefix.rstrip("/")) + "/" if prefix else ""
        with self._lock:
            found = [(key, len(data)) for key, data in self._bytes.items() if key.startswith(folder)]
        yield from (Blob(key, size, self._times.get(key, 0.0)) for key, size in sorted(found))

    def delete(self, key: str) -> None:
        """See :class:`Store`."""
        with self._lock:
            self._bytes.pop(check_key(key), None)

    def delete_tree(self, prefix: str) -> None:
        """See :class:`Store`."""
        for blob in list(self.scan(check_key(prefix.rstrip("/")))):
            self.delete(blob.key)

    def local_path(self, key: str) -> Path | None:
        """See :class:`Store`; there are no files."""
        check_key(key)
        return None


def open_store(uri: str, *, mode: int = 0o755) -> Store:
    """The store at a local path, a ``file://`` or an ``s3://`` URI.

    Args:
        uri: Where it is; :mod:`neuroconcepts_ray.lake.remote` says what an ``s3://`` URI may hold.
        mode: Permission bits of folders on a disk; S3 has its bucket policy.

    Raises:
        ConfigError: A scheme that no store serves, or a URI that is not one.
    """
    scheme, sep, rest = uri.partition("://")
    if not sep:
        return LocalStore(Path(uri), mode)
    if scheme == "file":
        return LocalStore(Path(rest), mode)
    if scheme == "s3":
        from neuroconcepts_ray.lake.s3 import S3Store  # s3fs is not loaded for a folder

        return S3Store(uri)
    raise ConfigError("no store serves this URI", value=f"{scheme}://…", limit="a local path, file:// or s3://")
