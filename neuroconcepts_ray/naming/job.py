"""Naming as a stage: small arrays in the driver, so nothing of it runs on Ray."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from neuroconcepts_ray.catalog.tables import Catalog, load_catalog, load_sections, positions
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.naming import resolve
from neuroconcepts_ray.naming.config import NamesConfig, plan
from neuroconcepts_ray.naming.tables import FILE, HELD, names_table
from neuroconcepts_ray.neurons.tables import Codes, load_codes


def run(
    config: NamesConfig,
    have: Mapping[str, Manifest],
    lake: Lake,
    compute: ComputeConfig,  # noqa: ARG001 - every stage is called alike
) -> dict[str, Manifest]:
    """Name the neurons of every space that has no names yet.

    Args:
        config: Settings.
        have: ``catalog`` and ``codes.<space>``.
        lake: The lake.
        compute: Unused: the work is a few sparse products.

    Returns:
        ``names.<space>`` for every space.
    """
    made: dict[str, Manifest] = {}
    for name, one in plan(config, have).items():
        found = lake.find(one)
        if found is None:
            catalog = load_catalog(lake, have["catalog"])
            cut = load_sections(lake, have["catalog"])
            reports = {study: getattr(some, config.sections) for study, some in cut.items()}
            codes = load_codes(lake, have[f"codes.{name.removeprefix('names.')}"])
            found = _name(lake, one, name, config, catalog, reports, codes)
        made[name] = found
    return made


def _name(
    lake: Lake,
    one: Plan,
    name: str,
    config: NamesConfig,
    catalog: Catalog,
    reports: Mapping[str, str],
    codes: Codes,
) -> Manifest:
    rows = positions(codes.image_ids, catalog.image_ids)
    probe, verify, words = resolve.gather(
        codes.matrix, catalog.studies[rows], catalog.groups[rows], catalog.roles[rows], reports, config
    )
    neurons = codes.matrix.shape[1]
    studies = {"probe": probe.present.shape[0], "verify": verify.present.shape[0]}
    facts: dict[str, Any] = {"neurons": neurons, "studies": studies, "terms": len(words)}
    why = _why(reports, studies, words, config)
    if why is not None:
        table = names_table(neurons, None, [], [], [], studies["verify"], [why] * neurons)
        chance = {"count": 0, "share": 0.0, "shuffles": 0}
        facts |= {"given": 0, "tested": 0, "named_when_shuffled": chance, "why": why}
    else:
        held = resolve.name_neurons(probe, verify, words, config)
        fires = probe.ranks.firing >= config.min_groups
        reasons = np.where(fires, "no term is associated on probe", f"fires in fewer than {config.min_groups} patients")
        reasons = reasons.astype(object)
        reasons[held.neuron] = np.where(held.passed, HELD, "its best term does not hold on verify")
        chosen = [words[t] for t in held.term]
        evidence = probe.present.sum(axis=0)[held.term].astype(int).tolist()
        table = names_table(
            neurons,
            held,
            [term.name for term in chosen],
            [term.polarity for term in chosen],
            evidence,
            studies["verify"],
            reasons.tolist(),
        )
        count = resolve.shuffled_names(probe, verify, words, config)
        chance = {"count": count, "share": count / (neurons * config.shuffles), "shuffles": config.shuffles}
        facts |= {"given": int(held.passed.sum()), "tested": len(held.neuron), "named_when_shuffled": chance}
    part = lake.put_part(one, FILE, to_parquet(table), rows=neurons)
    return lake.commit_manifest(one, name, [part], facts=facts)


def _why(reports: Mapping[str, str], studies: Mapping[str, int], words: list[Any], config: NamesConfig) -> str | None:
    """Why nothing can be named at all, if so."""
    if not any(reports.values()):
        return "no report has what names are taken from" if reports else "the archive has no reports"
    for role, least in (("probe", 2 * config.min_groups), ("verify", 2 * config.min_positives)):
        if studies[role] < least:
            return f"fewer than {least} patients with a report on {role}"
    if not words:
        return "no term is frequent enough on probe and verify"
    return None
