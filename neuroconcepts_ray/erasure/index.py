"""Indexes without the patient: a new base over the new codes, published with the tombstones of the state before."""

from pathlib import Path

from neuroconcepts_ray.erasure.rewrite import Rewriting
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.refs import Ref
from neuroconcepts_ray.lake.survey import address
from neuroconcepts_ray.retrieval import base, changes
from neuroconcepts_ray.retrieval.snapshot import read_snapshot


def rebuild(rewriting: Rewriting, heads: dict[str, Ref], cache: Path) -> None:
    """Build and publish the counterparts of all indexes that are in use; segments without the patient are kept.

    Args:
        rewriting: Catalogs, activations and codes are rewritten already.
        heads: Newest version of each ref.
        cache: Folder for what has been fetched and checked.
    """
    lake, moved = rewriting.lake, rewriting.moved
    for name, ref in heads.items():
        state = rewriting.manifests.get(address(ref))
        if not name.startswith("index-") or state is None or moved.manifests.get(address(ref)) is None:
            continue
        old = rewriting.manifests.get(f"{state.kind}/{state.recipe}/{state.facts.get('base', state.artifact)}.json")
        plan = None if old is None else rewriting.plan(old)
        catalog, codes = (
            rewriting.by_content.get(plan.inputs[role]) if plan else None for role in ("catalog", "codes")
        )
        if old is None or plan is None or catalog is None or codes is None:
            continue
        made = base.build(lake, plan, old.name, catalog, codes, cache, _activations(rewriting, codes))
        forget = frozenset(rewriting.victims.image_ids)
        removed = set(read_snapshot(lake, state).removed) - forget
        changes.publish(lake, made, cache, forget)
        if changes.ref_of(made) != name and removed:
            opened = changes.published(lake, made).open(lake, cache)
            changes.remove(lake, made, cache, [one for one in removed if opened.find(one) is not None])
        moved.manifests[address(old)] = address(made)
        rewriting.add(made)


def _activations(rewriting: Rewriting, codes: Manifest) -> Manifest | None:
    if codes.facts.get("origin") != "units":
        return None
    return rewriting.by_content.get(codes.inputs[f"activations.{codes.facts['tap']}"])
