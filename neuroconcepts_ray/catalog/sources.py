"""The bytes of one image of the archive, only if they are those that were catalogued."""

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from neuroconcepts_ray.errors import ConfigError, DigestError, EnvironmentFault, InputError

_REMEDY = "Restore the file, or run `neuroconcepts catalog` again to take the archive as it is now"


@dataclass(frozen=True)
class Source:
    """Where an image's bytes are and what they must be.

    Attributes:
        key: Path relative to the archive's root, with slashes; may carry patient ids.
        size: Bytes.
        sha256: Their digest, 64 hexadecimal digits.
        image_id: The image, for messages (a key must not stand in one).
    """

    key: str
    size: int
    sha256: str
    image_id: str = ""


def archive_root(root: str, field: str = "catalog.root") -> Path:
    """The folder that a root names.

    Args:
        root: A local path or ``file://`` URI.
        field: The config field it comes from, for messages.

    Raises:
        ConfigError: Another scheme, or no such folder.
    """
    scheme, sep, rest = root.partition("://")
    if sep and scheme != "file":
        raise ConfigError("no adapter reads this URI", value=f"{scheme}://…", limit="a folder", where=field)
    path = Path(rest if sep else root)
    if not path.is_dir():
        raise ConfigError("the folder does not exist", value=path, where=field, remedy=f"Set {field} to an archive")
    return path


def below(root: Path, key: str) -> Path:
    """The file of a key below a root.

    Raises:
        InputError: The key would leave the root.
    """
    parts = PurePosixPath(key).parts
    if not parts or key.startswith("/") or ".." in parts or "\0" in key or "\\" in key:
        raise InputError("a source's key leaves the archive's root", remedy="The catalog is not one of ours")
    return root.joinpath(*parts)


def read_source(root: str, source: Source) -> bytes:
    """Read one image and check that it is what was catalogued.

    Args:
        root: ``CatalogConfig.root``.
        source: From :func:`neuroconcepts_ray.catalog.tables.load_sources`.

    Returns:
        The file's bytes.

    Raises:
        InputError: The file is gone, or the key would leave the root.
        DigestError: The file changed since it was catalogued.
        OSError: The disk failed; the file's name, which may carry a patient id, is left out.
    """
    where = f"image {source.image_id}" if source.image_id else None
    folder = Path(root.removeprefix("file://"))
    path = below(folder, source.key)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if not folder.is_dir():  # an archive that is not mounted is no verdict on its images
            raise EnvironmentFault(
                "the archive's folder is gone", where="catalog.root", remedy="Mount it and run the same command again"
            ) from None
        raise InputError("an image of the catalog is missing in the archive", where=where, remedy=_REMEDY) from None
    except OSError as error:
        raise OSError(error.errno, error.strerror) from None
    if len(data) != source.size or hashlib.sha256(data).hexdigest() != source.sha256:
        raise DigestError(
            "an image changed since it was catalogued",
            value=f"{len(data)} bytes",
            limit=f"{source.size} bytes of its digest",
            where=where,
            remedy=_REMEDY,
        )
    return data
