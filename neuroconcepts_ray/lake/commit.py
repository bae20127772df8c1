"""Create-if-absent with a writer nonce: the one way in which anything becomes true in the lake.

The nonce carries a *seal*, a digest of the record's other bytes, so that a record is checked as its parts are. Records
of programs that did not seal yet have a bare nonce, and are read unchecked.
"""

import json
import re
import time
import uuid
from collections.abc import Callable
from typing import TypeVar

from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.errors import ConfigError, DigestError, EnvironmentFault, InputError
from neuroconcepts_ray.lake.formats import check_format
from neuroconcepts_ray.lake.recipe import DIGEST_CHARS, canonical_json, sha256
from neuroconcepts_ray.lake.store import Store

Record = TypeVar("Record", bound=StrictModel)

ATTEMPTS = 5


_NONCE = re.compile(rb'"nonce":"([^"]*)"')
_BARE = re.compile(rb"([0-9a-f]{32})?\Z")
_SEALED = re.compile(rb"[0-9a-f]{32}-[0-9a-f]{32}\Z")


def seal(record: Record, nonce: str) -> bytes:
    """The bytes of a record with its nonce, and in it a digest of them without that digest."""
    plain = canonical_json(record.model_copy(update={"nonce": nonce}).model_dump(mode="json"))
    mark = f'"nonce":"{nonce}'.encode()
    return plain.replace(mark, mark + b"-" + sha256(plain)[:DIGEST_CHARS].encode())


def sealed(data: bytes) -> bool | None:
    """Whether a record's bytes are those that were sealed; None where it has no seal."""
    found = list(_NONCE.finditer(data))
    if len(found) != 1 or _BARE.match(found[0][1]):
        return None
    if not _SEALED.match(found[0][1]):
        return False
    end = found[0].end(1)
    start = end - DIGEST_CHARS
    return sha256(data[: start - 1] + data[end:])[:DIGEST_CHARS].encode() == data[start:end]


def read_record(store: Store, key: str, model: type[Record]) -> Record:
    """The committed record under ``key``; FileNotFoundError where nothing is committed.

    Raises:
        InputError: The bytes are no such record, or one of a format that is not today's.
        DigestError: They are not those that were committed.
    """
    data = store.read(key)
    whole = sealed(data)
    if whole is False:
        raise DigestError("a record of the lake was altered", where=key, remedy=_RESTORE)
    try:
        raw = json.loads(data)
        check_format(raw, key)
        return validate(model, raw)
    except (ConfigError, json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
        if whole:
            raise InputError(
                "a record of the lake was written by another version of this program",
                where=key,
                remedy="Use the version that wrote it, or a newer one",
            ) from error
        raise InputError("a record of the lake is damaged", where=key, remedy=_RESTORE) from error


_RESTORE = "Restore it from a copy, or remove it"


def commit(
    store: Store, key: str, record: Record, *, sleep: Callable[[float], None] = time.sleep
) -> tuple[Record, bool]:
    """Make ``record`` the truth under ``key`` unless another writer has been there first.

    After any failure of the conditional PUT the key is read back, because a lost response leaves the writer
    ignorant of its own success: own nonce, committed; another's, theirs counts; absent, again.

    Args:
        store: The store.
        key: Where the record belongs.
        record: A record with a ``nonce`` field, which is set here.
        sleep: For tests.

    Returns:
        The record that counts, and whether it is this writer's.

    Raises:
        EnvironmentFault: The store failed ``ATTEMPTS`` times.
    """
    data = seal(record, uuid.uuid4().hex)
    nonce = json.loads(data)["nonce"]
    mine = record.model_copy(update={"nonce": nonce})
    failure: Exception | None = None
    for attempt in range(ATTEMPTS):
        try:
            store.create(key, data)
        except OSError as error:  # FileExistsError among them: the response may have been lost after a success
            failure = error
        else:
            return mine, True
        try:
            winner = read_record(store, key, type(record))
        except FileNotFoundError:
            if isinstance(failure, EnvironmentFault):
                raise failure from None
            sleep(min(0.1 * 2**attempt, 2.0))
            continue
        return winner, getattr(winner, "nonce", None) == nonce
    raise EnvironmentFault(
        "the store refused a commit", value=type(failure).__name__, where=key, remedy="Run the same command again"
    ) from failure
