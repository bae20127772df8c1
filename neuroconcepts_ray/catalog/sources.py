"""The bytes of one image of the archive, only if they are those that were catalogued."""

import hashlib
from dataclasses import dataclass

from neuroconcepts_ray.catalog.trees import open_tree
from neuroconcepts_ray.errors import ConfigError, DigestError, EnvironmentFault, InputError
from neuroconcepts_ray.imaging.bounds import check_bytes

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


def read_source(root: str, source: Source) -> bytes:
    """Read one image and check that it is what was catalogued.

    Args:
        root: ``CatalogConfig.root``.
        source: From :func:`neuroconcepts_ray.catalog.tables.load_sources`.

    Returns:
        The file's bytes.

    Raises:
        Undecodable: The file is larger than is decoded, so it is not read.
        InputError: The file is gone, or the key would leave the root.
        DigestError: The file changed since it was catalogued.
        EnvironmentFault: The archive itself is gone.
        OSError: The disk or store failed; the file's name, which may carry a patient id, is left out.
    """
    where = f"image {source.image_id}" if source.image_id else None
    check_bytes(source.size)
    try:
        tree = open_tree(root)
    except ConfigError:
        raise EnvironmentFault(
            "the archive's folder is gone", where="catalog.root", remedy="Mount it and run the same command again"
        ) from None
    try:
        data = tree.read(source.key)
    except FileNotFoundError:
        raise InputError("an image of the catalog is missing in the archive", where=where, remedy=_REMEDY) from None
    if len(data) != source.size or hashlib.sha256(data).hexdigest() != source.sha256:
        raise DigestError(
            "an image changed since it was catalogued",
            value=f"{len(data)} bytes",
            limit=f"{source.size} bytes of its digest",
            where=where,
            remedy=_REMEDY,
        )
    return data
