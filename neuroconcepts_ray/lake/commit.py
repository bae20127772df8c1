"""Create-if-absent with a writer nonce: the one way in which anything becomes true in the lake."""

import json
import time
import uuid
from collections.abc import Callable
from typing import TypeVar

from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.errors import EnvironmentFault, InputError
from neuroconcepts_ray.lake.recipe import canonical_json
from neuroconcepts_ray.lake.store import Store

Record = TypeVar("Record", bound=StrictModel)

ATTEMPTS = 5


def read_record(store: Store, key: str, model: type[Record]) -> Record:
    """The committed record under ``key``; FileNotFoundError where nothing is committed.

    Raises:
        InputError: The bytes are no such record.
    """
    data = store.read(key)
    try:
        return validate(model, json.loads(data))
    except ValueError as error:  # ConfigError is one
        raise InputError(
            "a record of the lake is damaged", where=key, remedy="Restore it from a copy, or remove it"
        ) from error


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
    nonce = uuid.uuid4().hex
    mine = record.model_copy(update={"nonce": nonce})
    data = canonical_json(mine.model_dump(mode="json"))
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
