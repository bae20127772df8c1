"""The erasure of a patient, step by step: any of them may be interrupted, and the whole be begun again."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from neuroconcepts_ray.catalog.tombstones import FOLDER
from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.erasure import index, journal, sweep
from neuroconcepts_ray.erasure.journal import Moved
from neuroconcepts_ray.erasure.rewrite import ORDER, Rewriting
from neuroconcepts_ray.erasure.traces import parts_naming
from neuroconcepts_ray.erasure.victims import Victims
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.commit import commit
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.refs import Ref
from neuroconcepts_ray.lake.survey import Survey, address, survey


class Tombstone(StrictModel):
    """All that remains of a patient; its name is the token."""

    images: int
    """Images that were erased with it."""
    nonce: str = ""
    """The writer."""


@dataclass(frozen=True)
class Outcome:
    """What an erasure did, or would do.

    Attributes:
        patients: Patients.
        images: Images.
        reports: Reports.
        rewritten: Artifacts by kind whose rows are filtered, or whose weights are kept.
        given_up: Artifacts by kind that are made anew by their stages.
        objects: Files that are deleted.
        bytes: Their size.
    """

    patients: int
    images: int
    reports: int
    rewritten: dict[str, int]
    given_up: dict[str, int]
    objects: int
    bytes: int


def _rewriting(lake: Lake, seen: Survey, victims: Victims, moved: Moved) -> Rewriting:
    for damaged in seen.damaged.values():
        raise damaged  # nobody knows whom a record names that cannot be read
    return Rewriting(lake, victims, parts_naming(lake, seen, victims.names), dict(seen.manifests), moved)


def preview(lake: Lake, victims: Victims) -> Outcome:
    """What an erasure would do; nothing is written."""
    seen = survey(lake)
    rewriting = _rewriting(lake, seen, victims, Moved())
    affected = rewriting.affected()
    kinds = Counter(manifest.kind for manifest in affected)
    # What is rewritten keeps the parts that name nobody.
    kept = {
        (part.root, part.key): part
        for one in affected
        if one.kind in ORDER and one.kind != "codes"
        for part in one.parts
    }
    shards = {
        (part.root, part.key): part for one in affected if one.kind == "codes" for part in one.parts if part.shard
    }
    kept = {place: part for place, part in (kept | shards).items() if place not in rewriting.naming}
    moved = Moved(manifests={address(one): "" for one in affected})
    goes = sweep.doomed(seen, moved, rewriting.naming, victims, kept)
    return _outcome(victims, kinds, goes)


def rewrite(lake: Lake, seen: Survey, victims: Victims, moved: Moved, cache: Path) -> Rewriting:
    """Make the counterparts of everything that names a victim, or was made from what does."""
    rewriting = _rewriting(lake, seen, victims, moved)
    rewriting.run()
    index.rebuild(rewriting, {name: versions[max(versions)] for name, versions in seen.refs.items()}, cache)
    return rewriting


def entomb(lake: Lake, victims: Victims) -> None:
    """Leave the tokens by which later looks at the archive know whom to leave out."""
    for token in victims.tokens:
        commit(lake.store, f"{FOLDER}/{token}.json", Tombstone(images=len(victims.image_ids)))


def point(lake: Lake, seen: Survey, moved: Moved) -> None:
    """Advance every ref whose newest artifact of a recipe has a counterpart; old versions stay, and point nowhere."""
    for name, versions in seen.refs.items():
        newest = {versions[number].recipe: number for number in sorted(versions)}
        for number in sorted(newest.values()):
            target = moved.manifests.get(address(versions[number]))
            if target and not name.startswith("index-"):
                kind, recipe, file = target.split("/")
                refs.advance(lake.store, name, Ref(kind=kind, recipe=recipe, artifact=file.removesuffix(".json")))


def erase(lake: Lake, name: str, victims: Victims, cache: Path) -> Outcome:
    """Erase patients from a lake; what `name` and `index` make is left to these stages.

    Args:
        lake: The lake.
        name: Of the journal, which :func:`journal.begin` gave; it is closed by the caller.
        victims: They.
        cache: Folder for what has been fetched and checked.
    """
    seen = survey(lake)
    moved = journal.recall(lake, name)
    rewriting = rewrite(lake, seen, victims, moved, cache)
    entomb(lake, victims)
    point(lake, seen, moved)
    journal.remember(lake, name, moved)
    goes = sweep.doomed(survey(lake), moved, rewriting.naming, victims)
    # Ahead of the parts: of those that are gone already the next run would not know the digests.
    sweep.clear_cache(cache, goes.parts)
    sweep.delete(lake, goes)
    sweep.forget_files(lake, victims)
    kinds = Counter(key.partition("/")[0] for key in moved.manifests)
    return _outcome(victims, kinds, goes)


def _outcome(victims: Victims, kinds: Counter[str], goes: sweep.Doomed) -> Outcome:
    return Outcome(
        patients=len(victims.patients or victims.groups),
        images=len(victims.image_ids),
        reports=victims.reports,
        rewritten={kind: count for kind, count in kinds.items() if kind in ORDER},
        given_up={kind: count for kind, count in kinds.items() if kind not in ORDER},
        objects=len(goes.places),
        bytes=goes.bytes,
    )
