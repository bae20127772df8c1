"""What doctor looks at: environment and configuration, each line ok or with what to do."""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.catalog.adapters import adapter
from neuroconcepts_ray.catalog.keys import find_key
from neuroconcepts_ray.catalog.trees import open_tree
from neuroconcepts_ray.cli.environment import GB, Line, broken, environment
from neuroconcepts_ray.distributed.compat import prepare_environment
from neuroconcepts_ray.errors import NeuroconceptsError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.store import LocalStore, Store
from neuroconcepts_ray.pipeline import PipelineConfig

SKEW_S = 60.0
"""Clocks further apart than this make ages of files doubtful; at 15 minutes S3 refuses to talk."""


def examine(path: Path | None, overrides: list[str]) -> list[Line]:
    """Look at everything; a check that breaks is a line, and the others go on.

    Args:
        path: The pipeline file; without one the environment alone is looked at.
        overrides: Fields set on the command line.
    """
    prepare_environment()
    lines = list(environment())
    if path is None:
        return [*lines, Line("config", "ok", "none given: lake, archive and key were not looked at (-c)")]
    try:
        config = pipeline.load(path, overrides)
    except NeuroconceptsError as error:
        return [*lines, broken("config", error, "`neuroconcepts config` lists every key with its meaning")]
    lines.append(Line("config", "ok", "every key is known"))
    try:
        lake = Lake.open(config.lake, config.phi_root)
    except NeuroconceptsError as error:
        return [*lines, broken("lake", error, "Set lake and phi_root to places that exist")]
    checks: list[Callable[[], Iterator[Line]]] = [
        lambda: _disk("lake", lake.store),
        lambda: _disk("phi_root", lake.phi),
        lambda: _disk("cache", LocalStore(config.index.cache_folder)),
        lambda: _permissions(lake.phi),
        lambda: _probe("lake", lake.store),
        lambda: _probe("phi_root", lake.phi),
        lambda: _archive(config),
        lambda: _hash_key(config, lake),
        lambda: _devices(config),
    ]
    for check in checks:
        lines += check()
    return lines


def _disk(name: str, store: Store) -> Iterator[Line]:
    if not isinstance(store, LocalStore):
        return
    there = next(place for place in (store.root, *store.root.parents) if place.exists())
    usage = shutil.disk_usage(there)
    said = f"{usage.free / GB:.1f} GB free"
    if usage.free < GB:
        yield Line(f"disk of {name}", "fail", said, "Free space, or choose a larger disk")
    elif usage.free < 0.05 * usage.total:
        yield Line(f"disk of {name}", "warn", f"{said}, less than 5 %", "Free space, or choose a larger disk")
    else:
        yield Line(f"disk of {name}", "ok", said)


def _permissions(phi: Store) -> Iterator[Line]:
    if isinstance(phi, LocalStore) and phi.root.exists():
        mode = phi.root.stat().st_mode & 0o777
        if mode & 0o077:
            yield Line("phi_root", "fail", f"others than its owner may enter (mode {mode:o})", f"chmod 700 {phi.root}")
        else:
            yield Line("phi_root", "ok", f"for its owner alone (mode {mode:o})")


def _probe(name: str, store: Store) -> Iterator[Line]:
    """Write, create twice, read and remove; and see what time the store has."""
    key, data = f"leases/{uuid.uuid4().hex}.probe", b"doctor"
    line = f"{name} writes"
    there = store.root.exists() if isinstance(store, LocalStore) else True
    before = time.time()
    try:
        store.create(key, data)
        after = time.time()
        try:
            store.create(key, b"another")
            second = True
        except FileExistsError:
            second = False
        whole = store.read(key) == data
        times = [blob.modified for blob in store.scan("leases") if blob.key == key]
        store.delete(key)
        if not there:
            store.delete_tree("leases")
    except NeuroconceptsError as error:
        yield broken(line, error, "Give this user read and write permission there")
        return
    except OSError as error:
        yield Line(
            line, "fail", error.strerror or type(error).__name__, "Give this user read and write permission there"
        )
        return
    if second or not whole:
        yield Line(
            line, "fail", "create-if-absent let two writers win", "Use a store with conditional writes (If-None-Match)"
        )
    else:
        yield Line(line, "ok", "written, created once, read and removed")
    if times:
        skew = max(before - times[0] - 1, times[0] - after, 0.0)  # stores may tell whole seconds
        if skew > SKEW_S:
            yield Line(
                f"clock of {name}", "warn" if skew < 900 else "fail", f"{skew:.0f} s apart", "Set the clocks by NTP"
            )
        else:
            yield Line(f"clock of {name}", "ok", "agrees with this machine's")


def _archive(config: PipelineConfig) -> Iterator[Line]:
    try:
        root = open_tree(config.catalog.root)
        entry = adapter(config.catalog.adapter)
        missing = entry.missing(root)
        empty = not missing and next(iter(root.walk()), None) is None
    except NeuroconceptsError as error:
        yield broken("archive", error, "Set catalog.root to an archive that this user may read")
        return
    except OSError as error:
        yield Line("archive", "fail", error.strerror or type(error).__name__, "Give this user permission to read it")
        return
    if missing:
        said = f"not laid out as {entry.name}: no {', '.join(missing)}"
        yield Line("archive", "fail", said, "Set catalog.root to the archive's root, or catalog.adapter to its layout")
    elif empty:
        yield Line("archive", "fail", "empty", "Mount the archive, or set catalog.root to it")
    else:
        yield Line("archive", "ok", f"readable, laid out as {entry.name}")


def _hash_key(config: PipelineConfig, lake: Lake) -> Iterator[Line]:
    try:
        key = find_key(config.catalog, lake.phi)
    except NeuroconceptsError as error:
        yield broken("hash key", error, "Set catalog.hash_key_file to the key's file")
        return
    yield Line("hash key", "ok", "there" if key is not None else "will be made at random below phi_root on first use")


def _devices(config: PipelineConfig) -> Iterator[Line]:
    if config.compute.gpus and not os.environ.get("RAY_ADDRESS"):
        import torch

        if not torch.cuda.is_available():
            yield Line(
                "GPU", "fail", "compute.gpus is set, and torch sees none", "Set compute.gpus=0, or install CUDA's torch"
            )
