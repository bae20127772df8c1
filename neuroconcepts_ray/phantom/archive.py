"""Write the archive in its layout, the truth in another place.

Films, reports and truth are written patient block by patient block, the closing tables last, so an archive without
tables is not finished. A finished one is left alone; a greater ``patients`` draws the new patients only.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from neuroconcepts_ray.config import recipe_fields
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.phantom.config import ALGORITHM, PhantomConfig
from neuroconcepts_ray.phantom.layouts.choice import layout_of
from neuroconcepts_ray.phantom.pool import each
from neuroconcepts_ray.phantom.shelf import Shelf, write_whole
from neuroconcepts_ray.phantom.truth import SCHEMA

BLOCK = 50
"""Patients that are drawn and recorded together."""

STATE = "phantom.json"
"""In the truth root: which config the archive is of, and how many of its patients are finished."""


def write_archive(
    config: PhantomConfig,
    root: Path,
    reports_root: Path,
    truth_root: Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write what is not yet there.

    Args:
        config: What the archive holds.
        root: Root of films and tables.
        reports_root: Root of the reports tree.
        truth_root: Root of the truth; neither inside ``root`` nor inside ``reports_root``.
        progress: Called with (patients done, patients in all) now and then.

    Returns:
        Number of patients drawn now; 0 if the archive was finished.

    Raises:
        ConfigError: The truth would lie inside the archive, a root is a file, or the roots hold another config's
            archive, or one whose state cannot be read.
    """
    root, reports_root, truth_root = (Path(path).resolve() for path in (root, reports_root, truth_root))
    for public in (root, reports_root):
        if truth_root.is_relative_to(public):
            raise ConfigError("the truth must not lie inside the archive", where="truth_root")
    for folder in (root, reports_root, truth_root):
        _refuse_file(folder)
    fields = _fields(config)
    digest = _digest(fields)
    state = _read_state(truth_root)
    if state is not None and state["config"] != digest:
        _refuse_other(fields, state.get("fields"), truth_root)
    layout = layout_of(config)
    complete = all((root / table).exists() for table in layout.tables)
    if state is not None and complete and state["patients"] == config.patients:
        return 0
    if state is None and complete:
        raise ConfigError(
            "the folder holds an archive whose truth is not here", where="phantom", remedy="Give another root"
        )
    done = _blocks_done(truth_root)
    if done > config.patients:
        raise ConfigError(
            "the archive holds more patients than asked for", value=config.patients, limit=f"at least {done}",
            where="phantom.patients", remedy="Give another root; patients can be appended, not taken away",
        )  # fmt: skip
    write_whole(truth_root / STATE, json.dumps({"config": digest, "patients": 0, "fields": fields}).encode())
    bounds = [(start, min(start + BLOCK - start % BLOCK, config.patients)) for start in _starts(done, config.patients)]
    block = partial(write_block, config, root, reports_root, truth_root)
    for start, _ in each(block, bounds, config.processes):
        done += min(BLOCK - start % BLOCK, config.patients - start)
        if progress is not None:
            progress(done, config.patients)
    # All are made before the first is written: a run that is killed while it labels leaves no table beside older ones.
    for table, data in list(layout.closing(config)):
        write_whole(root / table, data)
    write_whole(
        truth_root / STATE, json.dumps({"config": digest, "patients": config.patients, "fields": fields}).encode()
    )
    return sum(stop - start for start, stop in bounds)


def _starts(done: int, patients: int) -> Iterator[int]:
    while done < patients:
        yield done
        done += BLOCK - done % BLOCK


def _fields(config: PhantomConfig) -> dict[str, object]:
    return {key: value for key, value in recipe_fields(config).items() if key not in ("patients", "twins")}


def _refuse_other(fields: dict[str, object], there: object, folder: Path) -> None:
    known = there if isinstance(there, dict) else {}
    other = sorted(key for key in known if known[key] != fields.get(key))
    raise ConfigError(
        "the folder holds the phantom of another config",
        value=", ".join(f"{key}={fields.get(key)}" for key in other) or None,
        limit=", ".join(f"{key}={known[key]}" for key in other) or None,
        where=str(folder),
        remedy="Give another folder, or remove it",
    )


def _digest(fields: dict[str, object]) -> str:
    text = json.dumps({"algorithm": ALGORITHM, "config": fields}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_state(truth_root: Path) -> dict[str, object] | None:
    path = truth_root / STATE
    if not path.exists():
        return None
    try:
        state = json.loads(path.read_bytes())
    except ValueError:
        state = None
    if not isinstance(state, dict) or not {"config", "patients"} <= state.keys():
        raise ConfigError(
            f"{STATE} does not tell which phantom the folder holds", where="phantom", remedy="Give another root"
        )
    return state


def _refuse_file(folder: Path) -> None:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(
            "a file stands where a folder is asked for", value=there.name, where="phantom", remedy="Give another root"
        )


def _blocks_done(truth_root: Path) -> int:
    """Patients of the unbroken run of blocks from 0; blocks after a gap are removed and drawn again."""
    done = 0
    for path in sorted(truth_root.glob("truth-*.parquet")):
        start, stop = (int(part) for part in path.stem.split("-")[1:])
        if start == done:
            done = stop
        else:
            path.unlink()
    return done


def write_block(
    config: PhantomConfig, root: Path, reports_root: Path, truth_root: Path, bound: tuple[int, int]
) -> tuple[int, int]:
    """Draw the patients from the first of ``bound`` to before its last: films, reports, then truth as the receipt."""
    start, stop = bound
    rows: list[dict[str, object]] = []
    layout, shelf = layout_of(config), Shelf(root, reports_root)
    for index in range(config.first + start, config.first + stop):
        rows.extend(layout.patient(config, index, shelf))
    shelf.empty()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_whole(truth_root / f"truth-{start:06d}-{stop:06d}.parquet", to_parquet(table))
    return start, stop
