"""Leases: whoever writes says so while it lasts, so that nobody clears away what is about to be used.

A lease is a record under ``leases/<nonce>.json`` that is written again every minute. All times are the store's: the
time at which it last wrote the lease, and ages beside it. A lease that was not renewed for ``TTL_S`` is dead.
"""

import contextlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.recipe import canonical_json
from neuroconcepts_ray.lake.store import Store

TTL_S = 600.0
"""A lease that was not renewed for so long is dead: ten renewals were missed."""

RENEW_S = 60.0

SLACK_S = 60.0
"""How late a lease may have been written down after its command began."""


class Lease(StrictModel):
    """What a running command says of itself."""

    verb: str
    """The command."""
    exclusive: bool = False
    """Whether nothing else may write meanwhile."""
    age_s: float = 0.0
    """Seconds since it began, when this was written."""


@dataclass(frozen=True)
class Held:
    """A lease as another command sees it.

    Attributes:
        key: Its key.
        lease: What it says.
        began: When its command began at the latest, by the store's clock.
        written: When it was last written, by the store's clock.
    """

    key: str
    lease: Lease
    began: float
    written: float


def leases(store: Store) -> list[Held]:
    """All leases there are, dead or alive; one that cannot be read counts as what claims most."""
    found = []
    for blob in store.scan("leases"):
        if not blob.key.endswith(".json"):
            continue  # half written
        try:
            lease = validate(Lease, json.loads(store.read(blob.key)))
        except FileNotFoundError:
            continue
        except ValueError:  # ConfigError is one
            lease = Lease(verb="unknown", age_s=blob.modified)
        found.append(Held(blob.key, lease, blob.modified - lease.age_s - SLACK_S, blob.modified))
    return found


def live(held: list[Held], now: float) -> list[Held]:
    """Those whose command still runs, as far as can be told."""
    return [one for one in held if now - one.written <= TTL_S]


@contextlib.contextmanager
def hold(store: Store, verb: str, *, exclusive: bool = False, renew_s: float = RENEW_S) -> Iterator[str | None]:
    """Hold a lease while something is done.

    Of two commands, one of them exclusive, at least one sees the other's lease: each writes its own before it looks.

    Args:
        store: The lake's store.
        verb: What is done.
        exclusive: Refuse to begin while another lease is alive, and keep others from beginning.
        renew_s: Seconds between renewals.

    Yields:
        The lease's key; None where the store cannot be written, so that nothing can be at risk.

    Raises:
        EnvironmentFault: Another command holds a lease that excludes this one, or the store cannot be written although
            the lease was to exclude others.
    """
    key, start = f"leases/{uuid.uuid4().hex}.json", time.monotonic()

    def write() -> None:
        lease = Lease(verb=verb, exclusive=exclusive, age_s=round(time.monotonic() - start, 3))
        store.write(key, canonical_json(lease.model_dump(mode="json")))

    try:
        write()
    except OSError:
        if exclusive:
            raise
        yield None
        return
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(renew_s):
            with contextlib.suppress(OSError):  # the next one may get through
                write()

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    try:
        _exclude(store, key, exclusive)
        thread.start()
        yield key
    finally:
        stop.set()
        if thread.ident is not None:
            thread.join()
        with contextlib.suppress(OSError):  # a dead lease harms nobody
            store.delete(key)


def _exclude(store: Store, own: str, exclusive: bool) -> None:
    every = leases(store)
    now = next((one.written for one in every if one.key == own), time.time())
    for one in live(every, now):
        if one.key != own and (exclusive or one.lease.exclusive):
            raise EnvironmentFault(
                "another command is at work in this lake, and the two exclude each other",
                value=one.lease.verb,
                where=one.key,
                remedy=f"Run the same command again when it has ended; {TTL_S / 60:.0f} minutes later, if killed",
            )
