"""The read side of an archive: a tree of files on a disk or behind any URL that fsspec opens.

Names may carry patients' ids: no error raised here quotes one.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, InputError

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".dcm", ".dicom", ".npz", ".pgm", ".ppm", ".tif", ".tiff")
"""Files that are taken for images, in any case; the decoder goes by their bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of an archive.

    Attributes:
        key: Path relative to the root, with slashes.
        size: Bytes.
        stamp: Its time of change or ETag; only ever used to spare reading it again.
        changed_ns: When it was changed last, where the stamp is no more than that; 0 where it is an ETag.
    """

    key: str
    size: int
    stamp: str
    changed_ns: int = 0


class Tree(Protocol):
    """Files below a root, under keys with slashes."""

    uri: str

    def walk(self, below: str = "") -> Iterator[Entry]:
        """Every file below a folder, in no particular order.

        Raises:
            EnvironmentFault: A folder cannot be read.
        """

    def names(self, below: str = "") -> list[str]:
        """Names of the files that lie directly in a folder, sorted; none where there is no such folder."""

    def is_dir(self, key: str) -> bool:
        """Whether there is such a folder."""

    def read(self, key: str) -> bytes:
        """The bytes of a file.

        Raises:
            InputError: The key would leave the root.
            FileNotFoundError: There is none.
            EnvironmentFault: The root itself is gone.
            OSError: The disk or store failed; without the file's name.
        """

    def head(self, key: str, size: int) -> bytes:
        """The first bytes of a file, at most ``size`` of them; raises as ``read`` does."""

    def digest(self, key: str) -> tuple[str, int]:
        """SHA-256 of a file, 64 hexadecimal digits, and its size; raises as ``read`` does."""


def check_below(key: str) -> tuple[str, ...]:
    """The segments of a key below a root.

    Raises:
        InputError: The key would leave the root.
    """
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or ".." in parts or "\0" in key or "\\" in key:
        raise InputError("a source's key leaves the archive's root", remedy="The catalog is not one of ours")
    return parts


def is_named(key: str) -> bool:
    """Whether a file can be written down and read again by its key: its name is UTF-8, without backslash or detour."""
    strange = "\\" in key or "\0" in key or {"", ".", ".."} & set(key.split("/"))
    return not strange and key.encode(errors="ignore").decode() == key


def is_image(key: str, endings: tuple[str, ...] = IMAGE_ENDINGS) -> bool:
    """Whether a file's name says that it is an image (``._x.jpg`` of a Mac does not)."""
    name = key.rpartition("/")[2]
    return not name.startswith(".") and name.lower().endswith(endings) and is_named(key)


@lru_cache(maxsize=16)
def open_tree(uri: str, field: str = "catalog.root") -> Tree:
    """The tree at a local path, a ``file://`` URI or any URL that :func:`lake.remote.filesystem` opens.

    Args:
        uri: Where it is.
        field: The config field it comes from, for messages.

    Raises:
        ConfigError: No such folder, or nothing opens this URL.
    """
    scheme, sep, rest = uri.partition("://")
    local = not sep or scheme == "file"
    tree: Tree = LocalTree(Path(rest if sep else uri), field) if local else RemoteTree(uri, field)
    if not tree.is_dir(""):
        value = uri if local else f"{scheme}://…"
        raise ConfigError("the folder does not exist", value=value, where=field, remedy=f"Set {field} to an archive")
    return tree


class LocalTree:
    """A folder of a local or shared POSIX file system.

    Args:
        root: The folder.
        field: The config field it comes from, for messages.
    """

    def __init__(self, root: Path, field: str = "catalog.root") -> None:
        self.root = root.resolve()
        self.uri = str(self.root)
        self.field = field

    def walk(self, below: str = "") -> Iterator[Entry]:
        """See :class:`Tree`; links are followed, but never in a circle."""
        yield from self._walk(below.strip("/"), frozenset())

    def _walk(self, folder: str, above: frozenset[tuple[int, int]]) -> Iterator[Entry]:
        path = f"{self.uri}/{folder}" if folder else self.uri
        try:
            here = os.stat(path)  # noqa: PTH116 - pathlib costs five times as much, times 227,835 folders
            identity = (here.st_dev, here.st_ino)
            if identity in above:
                return
            with os.scandir(path) as listing:
                for item in listing:
                    key = f"{folder}/{item.name}" if folder else item.name
                    try:
                        if item.is_dir():
                            yield from self._walk(key, above | {identity})
                        elif item.is_file():
                            status = item.stat()
                            yield Entry(key, status.st_size, str(status.st_mtime_ns), status.st_mtime_ns)
                    except FileNotFoundError:
                        continue  # gone since it was listed
        except EnvironmentFault:
            raise
        except OSError as error:
            raise unreadable(error, self.field) from None

    def names(self, below: str = "") -> list[str]:
        """See :class:`Tree`."""
        folder = self.root / below.strip("/")
        return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []

    def is_dir(self, key: str) -> bool:
        """See :class:`Tree`."""
        return (self.root / key.strip("/")).is_dir()

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if not self.root.is_dir():  # an archive that is not mounted is no verdict on its images
                raise _gone(self.field) from None
            raise FileNotFoundError from None
        except OSError as error:
            raise OSError(error.errno, error.strerror) from None

    def read(self, key: str) -> bytes:
        """See :class:`Tree`."""
        path = self.root.joinpath(*check_below(key))
        with self._faults():
            return path.read_bytes()

    def head(self, key: str, size: int) -> bytes:
        """See :class:`Tree`."""
        path = self.root.joinpath(*check_below(key))
        with self._faults(), path.open("rb") as stream:
            return stream.read(size)

    def digest(self, key: str) -> tuple[str, int]:
        """See :class:`Tree`."""
        path = self.root.joinpath(*check_below(key))
        with self._faults(), path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), os.fstat(stream.fileno()).st_size


class RemoteTree:
    """A folder behind a URL that fsspec opens.

    Args:
        uri: The URL, options in its query.
        field: The config field it comes from, for messages.
    """

    def __init__(self, uri: str, field: str = "catalog.root") -> None:
        self.uri = uri
        self.field = field
        from neuroconcepts_ray.lake.remote import filesystem  # fsspec is not loaded for a folder

        try:
            self.fs, path = filesystem(uri)
        except ConfigError as error:
            raise ConfigError(
                error.what, value=error.value, limit=error.limit, remedy=error.remedy, where=field
            ) from None
        self.path = path.rstrip("/")

    def _at(self, key: str) -> str:
        return f"{self.path}/{key.strip('/')}" if key.strip("/") else self.path

    def walk(self, below: str = "") -> Iterator[Entry]:
        """See :class:`Tree`; one flat listing."""
        with self._faults():
            found: dict[str, dict[str, Any]] = self.fs.find(self._at(below), detail=True)
        start = len(self.path) + 1
        for name, info in found.items():
            if info.get("type") != "directory" and not name.endswith("/"):
                yield Entry(name[start:], int(info["size"]), *_stamp(info))

    def names(self, below: str = "") -> list[str]:
        """See :class:`Tree`."""
        try:
            with self._faults():
                found = self.fs.ls(self._at(below), detail=True)
        except FileNotFoundError:
            return []
        return sorted(info["name"].rpartition("/")[2] for info in found if info["type"] == "file")

    def is_dir(self, key: str) -> bool:
        """See :class:`Tree`."""
        with self._faults():
            return bool(self.fs.isdir(self._at(key)))

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError from None
        except (ConfigError, EnvironmentFault):
            raise
        except Exception as error:  # each fsspec backend has errors of its own, whose texts name the file
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else type(error).__name__
            raise EnvironmentFault(
                f"the archive's store failed: {reason}",
                where=self.field,
                remedy="Check its address, credentials and network, and run the same command again",
            ) from None

    def read(self, key: str) -> bytes:
        """See :class:`Tree`."""
        path = self._at("/".join(check_below(key)))
        with self._faults():
            return bytes(self.fs.cat_file(path))

    def head(self, key: str, size: int) -> bytes:
        """See :class:`Tree`."""
        path = self._at("/".join(check_below(key)))
        with self._faults():
            return bytes(self.fs.cat_file(path, start=0, end=size))

    def digest(self, key: str) -> tuple[str, int]:
        """See :class:`Tree`."""
        data = self.read(key)
        return hashlib.sha256(data).hexdigest(), len(data)


def _stamp(info: dict[str, Any]) -> tuple[str, int]:
    """Stamp and time of change; a backend that tells neither gets none, and its files are read each time."""
    for name in ("ETag", "etag"):
        if info.get(name):
            return str(info[name]), 0
    for name in ("LastModified", "mtime", "created"):
        at = info.get(name)
        if at is not None:
            seconds = at.timestamp() if hasattr(at, "timestamp") else float(at)
            return str(at), int(seconds * 1e9)
    return "", 0


def unreadable(error: OSError, field: str) -> EnvironmentFault:
    """A folder or file of an archive cannot be read."""
    return EnvironmentFault(
        f"a folder of the archive cannot be read: {error.strerror or type(error).__name__}",
        where=field,
        remedy="Give this user permission to read and enter every folder below it",
    )


def unreadable_file(error: OSError, field: str) -> EnvironmentFault:
    """A file of an archive cannot be read."""
    return EnvironmentFault(
        f"a file of the archive cannot be read: {error.strerror or type(error).__name__}",
        where=field,
        remedy="Mend its permissions or the disk, and run the same command again",
    )


def _gone(field: str) -> EnvironmentFault:
    remedy = "Mount it and run the same command again"
    return EnvironmentFault("the archive's folder is gone", where=field, remedy=remedy)
