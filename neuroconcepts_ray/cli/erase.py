"""The verb that erases a patient from the lake."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.catalog.keys import HashKey, find_key
from neuroconcepts_ray.catalog.tombstones import token, tokens
from neuroconcepts_ray.cli.work import say
from neuroconcepts_ray.erasure import journal
from neuroconcepts_ray.erasure.erase import Outcome, erase, preview
from neuroconcepts_ray.erasure.victims import Victims, find
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.lake.leases import hold
from neuroconcepts_ray.lake.survey import survey
from neuroconcepts_ray.pipeline import Pipeline

BEFORE = ("catalog", "train", "mine", "fit", "encode")
"""Stages whose artifacts are rewritten; those after them are made anew."""


def run(
    path: Path, overrides: list[str], groups: list[str], patient_file: Path | None, *, dry_run: bool, as_json: bool
) -> None:
    """Erase patients, and make what depends on them anew.

    Raises:
        ConfigError: Nobody is named, or the file of patients cannot be read.
        InputError: A patient whom no catalog of this lake knows.
    """
    patients = _read(patient_file)
    if not groups and not patients:
        raise ConfigError("erase needs somebody to erase", remedy="Give --group HASH, or --patient-file FILE")
    line = Pipeline(pipeline.load(path, overrides))
    key = find_key(line.config.catalog, line.lake.phi)
    if key is None:
        raise InputError("this lake has no catalog yet", remedy="Run `neuroconcepts catalog` first")
    if dry_run:
        victims = _find(line, key, groups, patients)
        _tell(preview(line.lake, victims) if victims.image_ids else None, "Would be erased", as_json)
        return
    with hold(line.lake.store, "erase", exclusive=True):
        done = None
        for name, victims in journal.under_way(line.lake).items():
            done = _erase(line, name, victims)
            _tell(done, "Erased (an interrupted erasure, now finished)", as_json)
        victims = _find(line, key, groups, patients)
        if victims.image_ids:
            _tell(_erase(line, journal.begin(line.lake, victims), victims), "Erased", as_json)
        elif done is None:
            _tell(None, "", as_json)


def _read(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("the file of patients cannot be read", where="--patient-file") from error
    return sorted({one.strip() for one in lines if one.strip()})


def _find(line: Pipeline, key: HashKey, groups: list[str], patients: list[str]) -> Victims:
    catalogs = [one for one in survey(line.lake, receipts=False).manifests.values() if one.kind == "catalog"]
    victims = find(line.lake, catalogs, key, set(groups), set(patients))
    gone = tokens(line.lake)
    unknown = [one for one in groups if one not in victims.groups and token(key, one) not in gone]
    if unknown:
        raise InputError(
            "no image of this lake belongs to this group",
            value=", ".join(unknown),
            where="--group",
            remedy="Give the hash as the column `group` of the catalog shows it",
        )
    known = set(victims.patients)
    strangers = sum(one not in known and token(key, key.hash("group", one)) not in gone for one in patients)
    if strangers:
        raise InputError(
            "patients of the file have no image in this lake",
            value=f"{strangers} of {len(patients)}",
            where="--patient-file",
            remedy="Give ids as the archive writes them, one a line; nothing was erased",
        )
    return victims


def _erase(line: Pipeline, name: str, victims: Victims) -> Outcome:
    outcome = erase(line.lake, name, victims, line.config.index.cache_folder)
    for new_only in (False, True):
        finisher = Pipeline(line.config, new_only=new_only)
        if all(one.manifest is not None for one in finisher.walk() if one.stage.verb in BEFORE):
            finisher.walk(make=("name", "index"))
            break
    journal.close(line.lake, name)
    return outcome


def _tell(outcome: Outcome | None, did: str, as_json: bool) -> None:
    if as_json:
        told: dict[str, Any] = {"state": "done already"} if outcome is None else {"state": did, **asdict(outcome)}
        print(json.dumps(told))  # noqa: T201 - the product
        return
    if outcome is None:
        say("Nothing to do: this was erased already, and the archive's films of it are left out.")
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in outcome.rewritten.items()) or "none"
    anew = ", ".join(f"{count} {kind}" for kind, count in outcome.given_up.items()) or "none"
    say(f"{did}: patients {outcome.patients}, images {outcome.images}, reports {outcome.reports}.")
    say(f"Artifacts without their rows: {kinds}. Artifacts that are made anew: {anew}.")
    deleted = "Would be deleted" if did.startswith("Would") else "Deleted"
    say(f"{deleted}: {outcome.objects} files, {outcome.bytes / 1e6:.2f} MB.")
    if {"classifier", "sae"} & outcome.rewritten.keys():
        say("Classifier and SAE keep their weights, which may have learned from these images; to fit both anew without")
        say("them: neuroconcepts run -c pipeline.yaml --set classifier.seed=1 --set sae.seed=1")
