"""Keyed hashes: how a patient is followed through every artifact without being named in any."""

import contextlib
import hmac
import secrets
from pathlib import Path

from neuroconcepts_ray.catalog.config import CatalogConfig
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.store import Store

KEY = "hash.key"
"""Where the random key lives below phi_root."""

MIN_BYTES = 16


class HashKey:
    """HMAC-SHA256 under one secret.

    Args:
        secret: The key's bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @property
    def id(self) -> str:
        """A digest that tells keys apart and gives none away; part of the catalog's recipe."""
        return hmac.digest(self._secret, b"neuroconcepts key id", "sha256").hex()[:32]

    def hash(self, kind: str, identifier: str) -> str:
        """The keyed hash of an identifier.

        Args:
            kind: ``group``, ``study`` or ``image``: the same number hashes differently for each.
            identifier: As the archive has it.

        Returns:
            The first 16 hexadecimal digits of HMAC-SHA256(key, "kind:identifier").
        """
        return hmac.digest(self._secret, f"{kind}:{identifier}".encode(), "sha256").hex()[:16]


def find_key(config: CatalogConfig, phi: Store) -> HashKey | None:
    """The key of a config, or None where it would have to be made first.

    Raises:
        ConfigError: The key file is missing, unreadable or too short.
    """
    if config.hash_key_file is None:
        try:
            return HashKey(phi.read(KEY))
        except FileNotFoundError:
            return None
    where = "catalog.hash_key_file"
    try:
        secret = Path(config.hash_key_file).read_bytes()
    except OSError as error:
        raise ConfigError("the key file cannot be read", value=config.hash_key_file, where=where) from error
    if len(secret) < MIN_BYTES:
        raise ConfigError("the key is too short", value=f"{len(secret)} bytes", limit=f"≥ {MIN_BYTES}", where=where)
    return HashKey(secret)


def make_key(config: CatalogConfig, phi: Store) -> HashKey:
    """The key of a config, made at random below phi_root on first use; all writers end up with the same one."""
    key = find_key(config, phi)
    if key is not None:
        return key
    with contextlib.suppress(FileExistsError):  # another writer was first: its key counts
        phi.create(KEY, secrets.token_bytes(32))
    return HashKey(phi.read(KEY))
