"""The catalog stage: look at the archive once and freeze what is new."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from neuroconcepts_ray.catalog.adapters import adapter
from neuroconcepts_ray.catalog.archive import UNLABELLED, Archive, label_counts, summary
from neuroconcepts_ray.catalog.config import SCALE, CatalogConfig
from neuroconcepts_ray.catalog.digests import digest_files, read_known, write_known
from neuroconcepts_ray.catalog.duplicates import apart, duplicate_tables, find_duplicates, known_of
from neuroconcepts_ray.catalog.joined import Known, Settled, settle
from neuroconcepts_ray.catalog.keys import make_key
from neuroconcepts_ray.catalog.newest import NAME, recipe
from neuroconcepts_ray.catalog.revise import Revision, revise
from neuroconcepts_ray.catalog.roles import Torn, assign, mend
from neuroconcepts_ray.catalog.rows import Rows, archive_digest, beyond, cut_partitions, make_rows, row_counts
from neuroconcepts_ray.catalog.sections import report_table, section_counts
from neuroconcepts_ray.catalog.splits import use_split
from neuroconcepts_ray.catalog.tombstones import leave_out, live, tokens
from neuroconcepts_ray.catalog.trees import Entry, Tree, open_tree
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.progress import track
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Root
from neuroconcepts_ray.lake.recipe import Plan, sha256
from neuroconcepts_ray.lake.table import to_parquet


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
        LeakageError: A published split puts a group into two parts, or near-duplicates are refused and there are some.
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
    groups = [key.hash("group", patient) for patient in archive.patients]
    alone = assign(groups, archive.published, config)
    found = find_duplicates(archive, images_sha256, root, lake, config)
    sha256_of = dict(zip(archive.reports, reports_sha256, strict=True))

    def settled(known: Known) -> tuple[Archive, Rows, Settled]:
        one = settle(
            archive.image_ids,
            groups,
            alone,
            [(pair.a, pair.b) for pair in found.pairs],
            known,
            refuse=config.near_duplicates == "refuse",
        )
        some, rows_left = apart(archive, one)
        films = [images_sha256[row] for row in rows_left]
        roles = [one.roles[row] for row in rows_left]
        return some, make_rows(some, roles, config, key, films, [sha256_of[study] for study in some.reports]), one

    made_by = recipe(config, key)
    parent = lake.newest(config.ref, made_by.digest)
    known = Known() if parent is None else known_of(lake, parent)
    kept_archive, rows, joined = settled(known)
    new = _beyond_parent(lake, parent, rows) if parent is not None else None
    revision = _revise(lake, parent, rows) if parent is not None and new is None else None
    if new is None and revision is None and known.images:  # a film changed: nobody's role is fixed any more
        known = Known()
        kept_archive, rows, joined = settled(known)
    revised: dict[int, Rows] = {} if revision is None else revision.changed
    new = new if revision is None else revision.new
    facts = _facts(kept_archive, config, rows)
    facts |= {"split_file": split, "torn": {"groups": torn.groups, "moved": torn.moved}}
    facts["near_duplicates"] = {"mode": config.near_duplicates, "unseen": found.unseen, **joined.counts}
    facts["archive"] = archive_digest(rows, facts)
    inputs = {"archive": facts["archive"]}
    kept: list[Part] = []
    sections = Counter[str]()
    if parent is not None and new is not None:
        if not new.images.num_rows and not new.reports.num_rows and not revised:
            return {NAME: parent}
        inputs["parent"] = parent.content
        kept = parent.parts
        facts["partitions"] = list(parent.facts["partitions"])
        if SCALE in parent.facts or revised:
            facts[SCALE] = parent.facts.get(SCALE) or parent.part("images-0000.parquet").sha256
        sections.update(_sections(lake, parent, revised))
        rows = new
    plan = Plan(made_by, inputs)
    manifest = lake.find(plan)
    if manifest is None:
        first = len(facts["partitions"])
        again = []
        for i, some in revised.items():
            texts = report_table(some.reports, [_text(reports or root, *pair) for pair in _texts(some)])
            sections.update(section_counts(texts))
            again += _write(lake, plan, i, some, texts, None)
        kept = list(({part.name: part for part in kept} | {part.name: part for part in again}).values())
        # Where nothing is new but something was revised, no empty partition is added.
        parts = cut_partitions(rows, config.partition_rows) if _any(rows) or not revised else []
        facts["partitions"] += [part.images.num_rows for part in parts]
        home = {image: i for i, part in enumerate(parts) for image in part.images["image_id"].to_pylist()}
        twins = duplicate_tables(archive, found, joined, home, known)
        written = []
        for i, part in enumerate(parts):
            texts = report_table(part.reports, [_text(reports or root, *pair) for pair in _texts(part)])
            sections.update(section_counts(texts))
            written += _write(lake, plan, first + i, part, texts, twins.get(i))
        facts["report_sections"] = {name: sections[name] for name in section_counts(report_table(rows.reports[:0], []))}
        manifest = lake.commit_manifest(plan, NAME, [*kept, *written], facts=facts)
    lake.advance(config.ref, manifest)
    return {NAME: manifest}


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
        "reports_without_study": archive.reports_left_out.get("no study", 0),
        "further_reports": archive.reports_left_out.get("further", 0),
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


def _sections(lake: Lake, parent: Manifest, revised: Mapping[int, Rows]) -> Counter[str]:
    """Reports of the parent's partitions by the sections they have, those left out that are revised."""
    if not revised:
        return Counter(parent.facts["report_sections"])
    counts = Counter[str]()
    for number in range(len(parent.facts["partitions"])):
        if number not in revised:
            counts.update(section_counts(lake.table(parent.part(f"reports-{number:04d}.parquet"))))
    return counts


def _revise(lake: Lake, parent: Manifest, rows: Rows) -> Revision | None:
    def read(kind: str, number: int) -> pa.Table:
        return lake.table(parent.part(f"{kind}-{number:04d}.parquet"))

    count = len(parent.facts["partitions"])
    kinds = ("images", "sources", "reports")
    return revise(rows, [(read(kinds[0], i), read(kinds[1], i), read(kinds[2], i)) for i in range(count)])


def _write(
    lake: Lake, plan: Plan, number: int, rows: Rows, reports: pa.Table, duplicates: pa.Table | None
) -> list[Part]:
    def put(name: str, table: pa.Table, root: Root) -> Part:
        data = to_parquet(table.combine_chunks())
        return lake.put_part(plan, f"{name}-{number:04d}.parquet", data, rows=table.num_rows, root=root)

    written = [put("images", rows.images, "lake"), put("sources", rows.sources, "phi"), put("reports", reports, "phi")]
    return written if duplicates is None else [*written, put("duplicates", duplicates, "lake")]


def _texts(rows: Rows) -> Iterator[tuple[Entry | str, str]]:
    return zip(rows.texts, rows.reports["sha256"].to_pylist(), strict=True)


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
