"""What goes: the one place that deletes what was committed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from neuroconcepts_ray.catalog.seen import Seen
from neuroconcepts_ray.erasure.journal import Moved
from neuroconcepts_ray.erasure.traces import Place
from neuroconcepts_ray.erasure.victims import Victims
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Part, Receipt
from neuroconcepts_ray.lake.store import SCRATCH
from neuroconcepts_ray.lake.survey import PART, Survey, survey
from neuroconcepts_ray.lake.table import from_parquet, to_parquet

TRAINING = "training"
"""Checkpoints of trainings under way: of an artifact whose catalog is gone, so none of them could be continued."""


@dataclass(frozen=True)
class Doomed:
    """What is deleted.

    Attributes:
        places: Objects, manifests first and parts last, so that no record is left that points to nothing.
        parts: Digests of the parts among them, for caches know them by these.
        bytes: Their size.
    """

    places: list[Place]
    parts: set[str]
    bytes: int


def _dead(receipt: Receipt, stems: set[str], only_dead: set[Place], naming: set[Place], names: set[str]) -> bool:
    place = (receipt.part.root, receipt.part.key)
    if place in naming or place in only_dead or _stem(receipt.part.key) in stems:
        return True
    return any(bad.image_id in names for bad in receipt.quarantined)


def _stem(key: str) -> str:
    """What all files of one segment share: the folder, and the name up to the attempt."""
    folder, _, name = key.rpartition("/")
    return f"{folder}/{name.rpartition('-')[0]}"


def doomed(
    survey: Survey, moved: Moved, naming: set[Place], victims: Victims, kept: Mapping[Place, Part] | None = None
) -> Doomed:
    """Manifests that were rewritten or given up, receipts that name a victim, and parts that nothing refers to then.

    Args:
        survey: The lake after everything was rewritten.
        moved: What was.
        naming: Parts that name a victim.
        victims: They.
        kept: Parts that stay although nothing refers to them but what is rewritten, as before a rewriting.
    """
    manifests = [key for key in survey.manifests if key in moved.manifests]
    live: dict[Place, Part] = dict(kept or {})
    dead: dict[Place, Part] = {}
    for key, manifest in survey.manifests.items():
        into = dead if key in moved.manifests else live
        into |= {(part.root, part.key): part for part in manifest.parts}
    only_dead = dead.keys() - live.keys()
    stems = {_stem(key) for _, key in naming} - {_stem(key) for _, key in live}
    receipts = []
    for key, receipt in survey.receipts.items():
        if _dead(receipt, stems, only_dead, naming, victims.names):
            receipts.append(key)
            dead.setdefault((receipt.part.root, receipt.part.key), receipt.part)
        else:
            live[receipt.part.root, receipt.part.key] = receipt.part
    every: list[Place] = [(root, key) for root, blobs in survey.blobs.items() for key in blobs]
    # A part that no record refers to is what a writer left that died, or another left when it lost a race.
    parts = [place for place in every if PART.match(place[1]) and place not in live]
    scratch = [place for place in every if SCRATCH.match(place[1].rpartition("/")[2])]
    training = [place for place in every if place[1].startswith(f"{TRAINING}/")]
    places: list[Place] = [*(("lake", key) for key in [*manifests, *receipts]), *training]
    places = list(dict.fromkeys([*places, *scratch, *parts]))
    sizes = (survey.blobs[root][key].bytes for root, key in places)
    return Doomed(places, {part.sha256 for place, part in dead.items() if place not in live}, sum(sizes))


def delete(lake: Lake, found: Doomed) -> None:
    """Delete."""
    for root, key in found.places:
        if not key.startswith(f"{TRAINING}/"):  # Ray Train names its files as it likes: the whole folder goes below
            lake.root(root).delete(key)
    lake.store.delete_tree(TRAINING)


def clear_cache(cache: Path, parts: Collection[str]) -> None:
    """Delete what a local cache holds of deleted parts.

    Args:
        cache: The folder of the cache.
        parts: Digests of the parts.
    """
    for digest in parts:
        for name in (f"{digest}.bin", f"{digest}.json"):
            (cache / name).unlink(missing_ok=True)
    for left in cache.glob(".*.tmp") if cache.is_dir() else ():
        left.unlink(missing_ok=True)


def forget_files(lake: Lake, victims: Victims) -> None:
    """Take the victims' files out of the catalog's memory of file times, looks and twins.

    Looks of films that neither a catalog nor the memory of files knows go as well: the victims may have had them, as
    films that were left out, or were written over. At worst a file of somebody else is read once more.
    """
    keys, digests = set(victims.keys), set(victims.sha256)
    ids = [one for one in (*victims.patients, *victims.study_ids, *victims.image_ids) if one]
    names = list(lake.phi.list("catalog"))
    kept = _catalogued(lake) - digests
    for name in names:
        if not name.endswith("-seen.parquet"):
            continue
        table = from_parquet(lake.phi.read(name))
        known = list(zip(table["key"].to_pylist(), table["sha256"].to_pylist(), strict=True))
        stays = [sha not in digests and key not in keys and not any(one in key for one in ids) for key, sha in known]
        kept |= {sha for (_, sha), stay in zip(known, stays, strict=True) if stay}
        if not all(stays):
            lake.phi.write(name, to_parquet(table.filter(pa.array(stays, pa.bool_()))))
    for ref in sorted({name.split("/")[1] for name in names if name.startswith("catalog/catalog-")}):
        Seen(lake.phi, ref).keep(kept)


def _catalogued(lake: Lake) -> set[str]:
    """Digests of all images of the catalogs that a lake has now."""
    catalogs = [one for one in survey(lake, receipts=False).manifests.values() if one.kind == "catalog"]
    return {sha for one in catalogs for sha in lake.tables(one, "sources-", ["sha256"])["sha256"].to_pylist()}
