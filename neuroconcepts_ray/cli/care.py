"""Verbs that look after a lake: verify, gc, migrate, and the printing of doctor."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.catalog.keys import KEY, find_key
from neuroconcepts_ray.cli.doctor import examine
from neuroconcepts_ray.cli.units import size
from neuroconcepts_ray.cli.work import say
from neuroconcepts_ray.distributed.progress import Advance, track
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake import gc as collector
from neuroconcepts_ray.lake import leases, refs
from neuroconcepts_ray.lake.checks import COPY, Problem
from neuroconcepts_ray.lake.gc import Garbage, Heap, Sort
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.migrate import migrate as carry_over
from neuroconcepts_ray.lake.migrate import prepare
from neuroconcepts_ray.lake.survey import address
from neuroconcepts_ray.lake.verify import verify as check
from neuroconcepts_ray.pipeline import Outcome, Pipeline
from neuroconcepts_ray.retrieval.fetch import stale
from neuroconcepts_ray.stages import TABLE

SHOWN = 20
"""Keys of a sort that a table names; --json has them all."""


def _walks(line: Pipeline) -> list[Outcome]:
    """What a config has finished or planned, as it is and with --new-only."""
    return [one for mode in (False, True) for one in Pipeline(line.config, new_only=mode).walk()]


def _finished(outcomes: Sequence[Outcome]) -> list[str]:
    return sorted({address(one.manifest) for one in outcomes if one.manifest is not None})


@contextmanager
def _megabytes(total: int) -> Iterator[Advance]:
    done = told = 0
    with track("verify", -(-total // 1_000_000), "MB") as tell:

        def advance(count: int) -> None:
            nonlocal done, told
            done += count
            now = -(-done // 1_000_000) if done == total else done // 1_000_000
            tell(now - told)
            told = now

        yield advance


def _key_problems(line: Pipeline) -> list[Problem]:
    """Whether the key below phi_root is the one that the newest catalog was made with."""
    if line.config.catalog.hash_key_file is not None:
        return []
    newest = refs.head(line.lake.store, line.config.catalog.ref)
    manifest = None if newest is None else line.lake.manifest(newest[1].kind, newest[1].recipe, newest[1].artifact)
    wanted = None if manifest is None else manifest.recipe_body["config"].get("hash_key")
    key = find_key(line.config.catalog, line.lake.phi)
    if wanted is None or (key is not None and key.id == wanted):
        return []
    what = "is gone" if key is None else "is not the one that the newest catalog was made with"
    return [Problem("phi", KEY, f"the key of patients and studies {what}", COPY)]


def verify(path: Path, overrides: list[str], *, everything: bool, as_json: bool) -> int:
    """Check everything that a config, the refs or all manifests reach; 3 where something is wrong."""
    line, problems, roots = Pipeline(pipeline.load(path, overrides)), [], []
    try:
        roots = _finished(_walks(line))
        problems = _key_problems(line)
    except InputError as error:
        problems = [Problem("lake", error.where or "?", error.what, error.remedy or COPY)]
    start = time.monotonic()
    report = check(line.lake, roots, everything=everything, track=_megabytes)
    seconds = time.monotonic() - start
    report.problems = sorted({*report.problems, *problems})
    if as_json:
        print(json.dumps(report.to_dict() | {"seconds": round(seconds, 3)}, indent=1))  # noqa: T201 - the product
        return 3 if report.problems else 0
    if report.problems:
        view = Table(title="What is wrong", title_justify="left", show_lines=True)
        for heading in ("key", "what", "what to do"):
            view.add_column(heading, overflow="fold")
        for one in report.problems:
            view.add_row(one.key if one.root == "lake" else f"{one.key} (phi_root)", one.what, one.remedy)
        Console(highlight=False, markup=False).print(view)
    rate = size(report.bytes / max(seconds, 1e-9))
    done = f"{report.artifacts} artifacts, {report.records} records, {report.parts} parts, {size(report.bytes)}"
    say(f"{done} in {seconds:.1f} s ({rate}/s): {f'{len(report.problems)} wrong' if report.problems else 'all whole'}")
    return 3 if report.problems else 0


def gc(
    paths: list[Path],
    overrides: list[str],
    *,
    unfinished: bool,
    artifacts: bool,
    versions: int | None,
    older_than_h: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Say what may go, and remove it where told to.

    Raises:
        ConfigError: Configs of different lakes.
        EnvironmentFault: Another command is at work, and more than orphans were to be removed.
        InputError: A record cannot be read.
    """
    lines = [Pipeline(pipeline.load(path, overrides)) for path in paths]
    lake = lines[0].lake
    if len({(line.lake.store.uri, line.lake.phi.uri) for line in lines}) > 1:
        raise ConfigError("the configs are of different lakes", remedy="Run gc once for each lake")
    outcomes = [one for line in lines for one in _walks(line)]
    asked: dict[Sort, bool] = {"orphan": True, "unfinished": unfinished, "artifact": artifacts}
    sorts = [sort for sort, wanted in asked.items() if wanted]
    heap, freed = collector.sweep(
        lake,
        _finished(outcomes),
        sorts=sorts,
        dry=not yes,
        recipes={one.plan.recipe.digest for one in outcomes if one.plan is not None},
        on_demand=_on_demand(lake),
        versions=versions,
        grace_s=older_than_h * 3600,
    )
    before = time.time() - max(older_than_h, 24) * 3600
    cached = {
        path: count for line in lines for path, count in stale(line.config.index.cache_folder, heap.known, before)
    }
    if yes:
        for path, count in cached.items():
            path.unlink(missing_ok=True)
            freed += count
    if as_json:
        told = {
            "removes": [asdict(one) for one in heap.of(sorts)],
            "cache": [{"file": str(path), "bytes": count} for path, count in cached.items()],
            "keeps": [asdict(one) for one in heap.garbage if one.sort not in sorts],
            "running": heap.running,
            "removed": yes,
            "freed_bytes": freed,
        }
        print(json.dumps(told, indent=1))  # noqa: T201 - the product
        return
    _tell(heap, sorts, cached, freed, yes)


def _on_demand(lake: Lake) -> set[str]:
    """Kinds of artifacts that no stage makes."""
    kinds = {blob.key.partition("/")[0] for blob in lake.store.scan()}
    return kinds - {entry.makes.rstrip(".") for entry in TABLE}


def _tell(heap: Heap, sorts: Sequence[Sort], cached: dict[Path, int], freed: int, yes: bool) -> None:
    view = Table(box=None, pad_edge=False)
    for heading in ("", "what", "where", "files", "size"):
        view.add_column(heading, no_wrap=True, justify="right" if heading in ("files", "size") else "left")
    option = {"orphan": "", "unfinished": " (--unfinished)", "artifact": " (--artifacts)"}

    def place(one: Garbage) -> tuple[str, str, str]:
        folder = "/".join(name[:12] for name in one.key.split("/")[:2])
        return one.sort, one.what, folder + (" (phi_root)" if one.root == "phi" else "")

    word = "removed" if yes else "would go"
    for (sort, what, where), some in groupby(sorted(heap.garbage, key=place), place):
        every = list(some)
        state = word if sort in sorts else "kept" + option[sort]
        view.add_row(state, f"{sort}: {what}", where, str(len(every)), size(sum(one.bytes for one in every)))
    if cached:
        view.add_row(word, "local cache", "", str(len(cached)), size(sum(cached.values())))
    if heap.garbage or cached:
        Console(highlight=False, markup=False).print(view)
        going = heap.of(sorts)
        for one in going[:SHOWN]:
            say(f"  {one.key}  {size(one.bytes)}")
        if len(going) > SHOWN:
            say(f"  and {len(going) - SHOWN} more; --json names all")
    if heap.running:
        say(f"At work: {', '.join(heap.running)}; what they may have written is left alone.")
    total = sum(one.bytes for one in heap.of(sorts)) + sum(cached.values())
    if yes:
        say(f"{size(freed)} are free now.")
    elif total:
        say(f"{size(total)} would go. Nothing was removed: say --yes for that.")
    else:
        say("Nothing would go.")


def migrate(path: Path, overrides: list[str], *, dry_run: bool) -> None:
    """Write a lake's manifests in today's format, beside those of older ones.

    Raises:
        InputError: A manifest is damaged, or no step leads to today's format.
    """
    line = Pipeline(pipeline.load(path, overrides))
    migration = prepare(line.lake)
    if not migration.made:
        say("Nothing to do: every manifest is of today's format.")
        return
    for key in migration.made:
        say(f"{key}  ->  {migration.address(key)}")
    if dry_run:
        say(f"{len(migration.made)} manifests would be written; nothing was touched.")
        return
    with leases.hold(line.lake.store, "migrate", exclusive=True):
        count = carry_over(line.lake, migration)
    say(f"{count} manifests written, the refs moved on. `neuroconcepts gc --artifacts` removes the old ones.")


def doctor(path: Path | None, overrides: list[str], *, as_json: bool) -> int:
    """Print what was found of environment and configuration; 4 where something will fail."""
    lines = examine(path, overrides)
    failed = any(one.state == "fail" for one in lines)
    if as_json:
        print(json.dumps({"ok": not failed, "lines": [asdict(one) for one in lines]}, indent=1))  # noqa: T201
        return 4 if failed else 0
    view = Table(box=None, pad_edge=False)
    for heading in ("", "what", "found", "what to do"):
        view.add_column(heading, overflow="fold")
    for one in lines:
        view.add_row({"ok": "ok", "warn": "!", "fail": "FAILS"}[one.state], one.name, one.said, one.remedy)
    Console(highlight=False, markup=False).print(view)
    counts = {state: sum(one.state == state for one in lines) for state in ("ok", "warn", "fail")}
    say(f"{counts['ok']} ok, {counts['warn']} to know, {counts['fail']} will fail.")
    return 4 if failed else 0
