"""The catalog stage: look at the archive once and freeze what is new."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.catalog.adapters import adapter
from neuroconcepts_ray.catalog.archive import UNLABELLED, Archive, label_counts, summary
from neuroconcepts_ray.catalog.config import ALGORITHM, SCALE, CatalogConfig
from neuroconcepts_ray.catalog.digests import digest_files, read_known, write_known
from neuroconcepts_ray.catalog.keys import HashKey, find_key, make_key
from neuroconcepts_ray.catalog.revise import Revision, revise
from neuroconcepts_ray.catalog.roles import Torn, mend
from neuroconcepts_ray.catalog.rows import Rows, archive_digest, beyond, cut_partitions, make_rows, row_counts
from neuroconcepts_ray.catalog.splits import use_split
from neuroconcepts_ray.catalog.tombstones import leave_out, live, tokens
from neuroconcepts_ray.catalog.trees import Entry, Tree, open_tree
from neuroconcepts_ray.config import recipe_fields
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.recipe import Plan, Recipe, sha256
from neuroconcepts_ray.lake.table import to_parquet

NAME = "catalog"


def current(config: CatalogConfig, lake: Lake) -> Manifest | None:
    """The newest catalog of this config, without looking at the archive; None where there is none.

    Raises:
        ConfigError: The key file of the config cannot be read.
    """
    key = find_key(config, lake.phi)
    return None if key is None else lake.newest(config.ref, _recipe(config, key).digest)


def run(config: CatalogConfig, have: Mapping[str, Manifest], lake: Lake, compute: ComputeConfig) -> dict[str, Manifest]:
    """Catalogue the archive as it is now.

    Nothing new: the newest catalog is returned. Only new images or reports: they become further partitions, and the
    parts of the newest catalog are kept as they are. Labels, views or reports that changed: their partitions are
    written again, their films in the same places. A film that changed or went: all partitions are made anew.

    Args:
        config: The archive.
        have: Unused; the chain starts here.
        lake: The lake.
        compute: Unused; this stage waits for disks, not for processors.

    Returns:
        The manifest, as ``catalog``.

    Raises:
        ConfigError: Root, reports, labels or key file do not exist.
        InputError: The archive is damaged or contradicts itself.
        LeakageError: A published split puts a group into two parts.
        EnvironmentFault: A file or folder cannot be read.
    """
    del have, compute
    root = open_tree(config.root)
    reports = open_tree(config.reports, "catalog.reports") if config.reports is not None else None
    key = make_key(config, lake.phi)
    archive = adapter(config.adapter).scan(config, root, reports, key)
    split = use_split(archive, config) if config.split == "file" else {}
    leave_out(archive, key, tokens(lake))
    archive.check()
    torn = Torn(0, {})
    if config.split != "hash" and config.split_leaks == "mark" and all(archive.published):
        archive.published, torn = mend(archive.patients, archive.published)

    images_sha256 = _digests(lake, config, "images", root, archive.files)
    reports_sha256 = _report_digests(lake, config, reports or root, list(archive.reports.values()))
    rows = make_rows(archive, config, key, images_sha256, reports_sha256)
    facts = {**_facts(archive, config, rows), "split_file": split, "torn": {"groups": torn.groups, "moved": torn.moved}}
    facts["archive"] = archive_digest(rows, facts)

    recipe = _recipe(config, key)
    inputs = {"archive": facts["archive"]}
    parent = lake.newest(config.ref, recipe.digest)
    new = _beyond_parent(lake, parent, rows) if parent is not None else None
    revision = _revise(lake, parent, rows) if parent is not None and new is None else None
    revised: dict[int, Rows] = {} if revision is None else revision.changed
    new = new if revision is None else revision.new
    kept: list[Part] = []
    if parent is not None and new is not None:
        if not new.images.num_rows and not new.reports.num_rows and not revised:
            return {NAME: parent}
        inputs["parent"] = parent.content
        kept = parent.parts
        facts["partitions"] = list(parent.facts["partitions"])
        if SCALE in parent.facts or revised:
            facts[SCALE] = parent.facts.get(SCALE) or parent.part("images-0000.parquet").sha256
        rows = new
    plan = Plan(recipe, inputs)
    manifest = lake.find(plan)
    if manifest is None:
        first = len(facts["partitions"])
        again = [part for i, some in revised.items() for part in _write(lake, plan, i, some, reports or root)]
        kept = list(({part.name: part for part in kept} | {part.name: part for part in again}).values())
        # Where nothing is new but something was revised, no empty partition is added.
        parts = cut_partitions(rows, config.partition_rows) if _any(rows) or not revised else []
        facts["partitions"] += [part.images.num_rows for part in parts]
        written = [
            part for i, some in enumerate(parts) for part in _write(lake, plan, first + i, some, reports or root)
        ]
        manifest = lake.commit_manifest(plan, NAME, [*kept, *written], facts=facts)
    lake.advance(config.ref, manifest)
    return {NAME: manifest}


def _recipe(config: CatalogConfig, key: HashKey) -> Recipe:
    # Whether there are reports decides what the catalog holds; where they are does not.
    fields = {**recipe_fields(config), "reports": config.reports is not None, "hash_key": key.id}
    return Recipe(NAME, ALGORITHM, fields)


def _facts(archive: Archive, config: CatalogConfig, rows: Rows) -> dict[str, Any]:
    unlabelled = (archive.raw == UNLABELLED).any(axis=1)
    return {
        "labels": archive.labels,
        "task": archive.task,
        "adapter": config.adapter,
        **row_counts(rows),
        "partitions": [],
        "policy": {"blank": config.blank, "uncertain": config.uncertain},
        "left_out": archive.left_out,
        "ungrouped": archive.ungrouped,
        "counted": archive.counted,
        "grouped_by": archive.grouped_by,
        "split": config.split,
        "parts": dict(sorted(Counter(archive.published).items())) if config.split != "hash" else {},
        "columns": {name: summary(values) for name, values in archive.columns.items()},
        "unlabelled_studies": len({archive.study_ids[i] for i in np.flatnonzero(unlabelled)}),
        "label_counts": label_counts(archive.labels, archive.raw),
        "published_counts": archive.published_counts,
    }


def _digests(lake: Lake, config: CatalogConfig, what: str, tree: Tree, files: list[Entry]) -> list[str]:
    if not files:
        return []
    memory = f"catalog/{config.ref}/{what}-seen.parquet"
    known, looked_ns = read_known(lake.phi, memory, tree), time.time_ns()
    with track(f"catalog: {what}", len(files), "files") as advance:
        digests = digest_files(tree, files, known, advance, where=f"catalog.{'root' if what == 'images' else what}")
    if any((file.key, file.size, file.stamp) not in known for file in files):
        write_known(lake.phi, memory, tree, files, digests, looked_ns)
    return digests


def _report_digests(lake: Lake, config: CatalogConfig, tree: Tree, reports: list[Entry | str]) -> list[str]:
    files = [report for report in reports if isinstance(report, Entry)]
    digests = iter(_digests(lake, config, "reports", tree, files))
    return [next(digests) if isinstance(report, Entry) else sha256(report.encode()) for report in reports]


def _beyond_parent(lake: Lake, parent: Manifest, rows: Rows) -> Rows | None:
    return beyond(
        rows,
        live(lake.tables(parent, "images-")),
        lake.tables(parent, "sources-"),
        lake.tables(parent, "reports-", ["study", "sha256"]),
    )


def _any(rows: Rows) -> bool:
    return bool(rows.images.num_rows or rows.reports.num_rows)


def _revise(lake: Lake, parent: Manifest, rows: Rows) -> Revision | None:
    def read(kind: str, number: int) -> pa.Table:
        return lake.table(parent.part(f"{kind}-{number:04d}.parquet"))

    count = len(parent.facts["partitions"])
    kinds = ("images", "sources", "reports")
    return revise(rows, [(read(kinds[0], i), read(kinds[1], i), read(kinds[2], i)) for i in range(count)])


def _write(lake: Lake, plan: Plan, number: int, rows: Rows, reports: Tree) -> list[Part]:
    texts = [_text(reports, *pair) for pair in zip(rows.texts, rows.reports["sha256"].to_pylist(), strict=True)]
    with_text = rows.reports.add_column(1, "text", pa.array(texts, pa.string()))

    def put(name: str, table: pa.Table, phi: bool) -> Part:
        data = to_parquet(table.combine_chunks())
        return lake.put_part(
            plan, f"{name}-{number:04d}.parquet", data, rows=table.num_rows, root="phi" if phi else "lake"
        )

    return [put("images", rows.images, False), put("sources", rows.sources, True), put("reports", with_text, True)]


def _text(tree: Tree, report: Entry | str, digest: str) -> str:
    """A report's text; its bytes are UTF-8 or, where they are not, Latin-1."""
    if isinstance(report, str):
        return report
    try:
        data = tree.read(report.key)
    except EnvironmentFault:
        raise
    except OSError as error:
        raise EnvironmentFault(
            f"a report cannot be read: {error.strerror or type(error).__name__}", where="catalog.reports"
        ) from None
    if sha256(data) != digest:
        raise EnvironmentFault(
            "a report changed while it was catalogued", where="catalog.reports", remedy="Run the same command again"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
