"""What an erasure under way must remember: below phi_root, and gone when it is done."""

import json
from pathlib import PurePosixPath

from neuroconcepts_ray.catalog.tombstones import FOLDER
from neuroconcepts_ray.config import StrictModel, validate
from neuroconcepts_ray.erasure.victims import Victims
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.recipe import canonical_json, digest

PLAN = "plan.json"
MOVED = "moved.json"


class Moved(StrictModel):
    """What was rewritten, written down before anything is deleted."""

    contents: dict[str, str] = {}
    """New content digest by old."""
    manifests: dict[str, str] = {}
    """Key of the new manifest by that of the old; empty where none takes its place."""


def begin(lake: Lake, victims: Victims) -> str:
    """Write down what is to be erased; returns the erasure's name, the same whenever the same is asked for."""
    name = digest(victims.tokens)
    lake.phi.write(f"{FOLDER}/{name}/{PLAN}", canonical_json(victims.model_dump()))
    return name


def under_way(lake: Lake) -> dict[str, Victims]:
    """Erasures that were begun and not finished, by name."""
    keys = [key for key in lake.phi.list(FOLDER) if key.endswith(f"/{PLAN}")]
    return {PurePosixPath(key).parent.name: validate(Victims, json.loads(lake.phi.read(key))) for key in keys}


def remember(lake: Lake, name: str, moved: Moved) -> None:
    """Write down what was rewritten."""
    lake.phi.write(f"{FOLDER}/{name}/{MOVED}", canonical_json(moved.model_dump()))


def recall(lake: Lake, name: str) -> Moved:
    """What was rewritten before an interruption."""
    try:
        return validate(Moved, json.loads(lake.phi.read(f"{FOLDER}/{name}/{MOVED}")))
    except FileNotFoundError:
        return Moved()


def close(lake: Lake, name: str) -> None:
    """Forget the erasure; the plan goes last, for by it an interrupted one is known."""
    lake.phi.delete(f"{FOLDER}/{name}/{MOVED}")
    lake.phi.delete(f"{FOLDER}/{name}/{PLAN}")
