"""From receipts to a manifest: the moment in which shards become an artifact."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from neuroconcepts_ray.errors import EnvironmentFault, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Quarantined, Receipt
from neuroconcepts_ray.lake.recipe import Plan
from neuroconcepts_ray.lake.shards import Shard, Slip


def check_bad_fraction(quarantined: Sequence[Quarantined], total: int, limit: float) -> None:
    """Refuse to commit when too many images were set aside.

    Raises:
        InputError: More than ``limit`` of the images are quarantined; names the commonest causes.
    """
    if total and len(quarantined) / total > limit:
        causes = ", ".join(f"{cause}: {n}" for cause, n in Counter(bad.cause for bad in quarantined).most_common(3))
        raise InputError(
            f"too many images are quarantined ({causes}), the first being {quarantined[0].image_id}",
            value=f"{len(quarantined)} of {total}",
            limit=f"max_bad_fraction {limit:g}",
            remedy="Mend the files, or raise compute.max_bad_fraction; everything done is kept",
        )


def _shared_profile(receipts: Sequence[Receipt], tolerant: bool) -> dict[str, str]:
    profile = dict(receipts[0].profile) if receipts else {}
    for receipt in receipts:
        if receipt.profile != profile and not tolerant:
            keys = sorted(k for k in {*profile, *receipt.profile} if profile.get(k) != receipt.profile.get(k))
            raise InputError(
                "shards of one artifact were made under differing numeric profiles",
                value={k: receipt.profile.get(k) for k in keys},
                limit={k: profile.get(k) for k in keys},
                where=f"shard {receipt.shard}",
                remedy="Use machines of one kind, or set compute.tolerant=true to accept rounding differences",
            )
        profile = {k: v for k, v in profile.items() if receipt.profile.get(k) == v}
    return profile


def assemble(
    lake: Lake,
    plan: Plan,
    name: str,
    shards: Sequence[Shard | Slip],
    *,
    facts: Mapping[str, Any] | None = None,
    files: Sequence[Part] = (),
    max_bad_fraction: float = 0.01,
    tolerant: bool = False,
) -> Manifest:
    """Commit the artifact whose shards all have a receipt.

    Args:
        lake: The lake.
        plan: The artifact's plan.
        name: Its role in the pipeline.
        shards: All its shards in order.
        facts: Small results that belong to the content.
        files: Further parts beside the shards.
        max_bad_fraction: Largest admissible share of quarantined images.
        tolerant: Accept shards made under differing numeric profiles.

    Raises:
        EnvironmentFault: Some shards are unfinished.
        InputError: Too many bad images, differing profiles, or counts that do not reconcile.
    """
    found = lake.receipts(plan, [shard.key for shard in shards])
    receipts = [receipt for receipt in found if receipt is not None]
    if len(receipts) < len(shards):
        raise EnvironmentFault(
            f"{name} is unfinished",
            value=f"{len(receipts)} of {len(shards)} shards",
            remedy="Run the same command again: it continues from here",
        )
    for shard, receipt in zip(shards, receipts, strict=True):
        if receipt.part.rows + len(receipt.quarantined) != shard.images:
            raise InputError(
                "rows and quarantined images of a shard do not add up to its images",
                value=f"{receipt.part.rows} + {len(receipt.quarantined)}",
                limit=shard.images,
                where=f"shard {shard.key}",
            )
    quarantined = [bad for receipt in receipts for bad in receipt.quarantined]
    check_bad_fraction(quarantined, sum(shard.images for shard in shards), max_bad_fraction)
    return lake.commit_manifest(
        plan,
        name,
        [*(receipt.part for receipt in receipts), *files],
        quarantined=quarantined,
        facts=facts,
        profile=_shared_profile(receipts, tolerant),
    )
