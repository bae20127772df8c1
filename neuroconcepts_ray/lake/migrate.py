"""From an older format to today's: every manifest again under its new name, over the same parts; then the refs.

Shards' receipts belong to a recipe, and are not carried over: what is finished stays finished, but an archive that
grows after a migration has its films mined again once.
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake import recipe as recipes
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.commit import commit, read_record, sealed
from neuroconcepts_ray.lake.formats import STEPS, Step
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Quarantined, content_digest
from neuroconcepts_ray.lake.recipe import digest
from neuroconcepts_ray.lake.refs import Ref
from neuroconcepts_ray.lake.survey import MANIFEST, REF


@dataclass
class Migration:
    """What is to be written anew.

    Attributes:
        raw: Manifests of older formats by key, as plain JSON data.
        made: What becomes of each, by the old one's key, in the order in which they must be committed.
        names: New recipe, artifact and content digests by the old ones.
    """

    raw: dict[str, dict[str, Any]] = field(default_factory=dict)
    made: dict[str, dict[str, Any]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def address(self, key: str) -> str:
        """Key of what becomes of a manifest."""
        return "{kind}/{recipe}/{artifact}.json".format(**self.made[key])


def old_manifests(lake: Lake, to: int) -> dict[str, dict[str, Any]]:
    """Manifests of formats before ``to``, as plain JSON data by key.

    Raises:
        InputError: One is damaged.
    """
    found = {}
    for blob in lake.store.scan():
        if not MANIFEST.match(blob.key):
            continue
        data = lake.store.read(blob.key)
        try:
            raw = json.loads(data)
            older = int(raw["format"]) < to
        except (ValueError, KeyError, TypeError):
            older, raw = False, None
        if raw is None or sealed(data) is False:
            raise InputError("a manifest is damaged", where=blob.key, remedy="Run `neuroconcepts verify --all` first")
        if older:
            found[blob.key] = raw
    return found


def prepare(lake: Lake, *, steps: Mapping[int, Step] = STEPS, to: int | None = None) -> Migration:
    """Work out what a lake's older manifests become; nothing is written.

    Args:
        lake: The lake.
        steps: The step from each version to the next.
        to: The version wanted; today's by default.

    Raises:
        InputError: A manifest is damaged, or of a version from which no step leads on.
    """
    to = recipes.FORMAT if to is None else to
    migration = Migration(old_manifests(lake, to))
    own = {key: {raw["recipe"], raw["artifact"], raw["content"]} for key, raw in migration.raw.items()}
    owners: dict[str, set[str]] = {}
    for key, names in own.items():
        for name in names:
            owners.setdefault(name, set()).add(key)
    waits = {
        key: {owner for name in _mentioned(raw) - own[key] for owner in owners.get(name, ())} - {key}
        for key, raw in migration.raw.items()
    }
    while waits:
        ready = sorted(key for key, others in waits.items() if not others & waits.keys())
        if not ready:
            raise InputError("manifests name one another in a circle", where=sorted(waits)[0])
        for key in ready:
            del waits[key]
            _rename(migration, key, steps, to)
    return migration


def _mentioned(raw: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    todo: list[Any] = [raw["inputs"], raw["recipe_body"].get("models", {}), raw["facts"]]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, Mapping | list):
            todo += one.values() if isinstance(one, Mapping) else one
    return found


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {key: _renamed(one, names) for key, one in value.items()}
    return [_renamed(one, names) for one in value] if isinstance(value, list) else value


def _rename(migration: Migration, key: str, steps: Mapping[int, Step], to: int) -> None:
    old = migration.raw[key]
    new = copy.deepcopy(old)
    for version in range(int(old["format"]), to):
        if version not in steps:
            raise InputError("no step leads on from this format", value=version, where=key)
        new = steps[version](new)
    for name in ("inputs", "facts"):
        new[name] = _renamed(new[name], migration.names)
    body = new["recipe_body"]
    new |= {"format": to, "recipe_body": body | {"format": to, "models": _renamed(body["models"], migration.names)}}
    new["recipe"] = digest(new["recipe_body"])
    new["artifact"] = digest({"recipe": new["recipe"], "inputs": new["inputs"]})
    parts = [validate(Part, part) for part in new["parts"]]
    quarantined = [validate(Quarantined, bad) for bad in new["quarantined"]]
    new["content"] = content_digest(new["kind"], parts, quarantined, new["facts"])
    migration.names |= {old[name]: new[name] for name in ("recipe", "artifact", "content")}
    migration.made[key] = new


def migrate(lake: Lake, migration: Migration) -> int:
    """Commit what was prepared, and let the refs follow; the same again does nothing.

    Returns:
        Manifests that were committed now.
    """
    count = 0
    for key, new in migration.made.items():
        _, mine = commit(lake.store, migration.address(key), validate(Manifest, new))
        count += mine
    names = {match["name"] for blob in lake.store.scan("refs") if (match := REF.match(blob.key))}
    for name in sorted(names):
        _follow(lake, name, migration)
    return count


def _follow(lake: Lake, name: str, migration: Migration) -> None:
    """Point to what the versions of a ref have become, in their order, under the ref's new name where it has one."""
    stem, dash, last = name.rpartition("-")
    target = f"{stem}{dash}{migration.names.get(last, last)}"
    there = {(ref.recipe, ref.artifact) for ref in _versions(lake, target)}
    for old in _versions(lake, name):
        if old.artifact not in migration.names:
            continue
        new = Ref(kind=old.kind, recipe=migration.names[old.recipe], artifact=migration.names[old.artifact])
        if (new.recipe, new.artifact) not in there:
            refs.advance(lake.store, target, new)
            there.add((new.recipe, new.artifact))


def _versions(lake: Lake, name: str) -> list[Ref]:
    matches = [match for blob in lake.store.scan(f"refs/{name}") if (match := REF.match(blob.key))]
    numbers = sorted(int(match["number"]) for match in matches if match["name"] == name)
    return [read_record(lake.store, f"refs/{name}/{number}.json", Ref) for number in numbers]
