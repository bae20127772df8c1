"""Who is erased: every name under which a lake knows a patient."""

from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa

from neuroconcepts_ray.catalog.keys import HashKey
from neuroconcepts_ray.catalog.tombstones import token
from neuroconcepts_ray.config import StrictModel
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest


class Victims(StrictModel):
    """Patients to erase, and all that tells of them."""

    tokens: list[str]
    """What will remain of each patient."""
    image_ids: list[str]
    """Their images."""
    groups: list[str]
    """Keyed hashes that stand for nobody else."""
    studies: list[str]
    """Keyed hashes of their studies."""
    patients: list[str]
    """Patient ids, as the archive has them."""
    study_ids: list[str]
    """Study ids, as the archive has them."""
    keys: list[str]
    """Files of their images."""
    sha256: list[str]
    """Digests of their images' and reports' bytes."""
    reports: int
    """Reports."""

    @property
    def names(self) -> set[str]:
        """Every string by which a table or record of the lake may name them; what the archive calls them never does."""
        return {*self.image_ids, *self.groups, *self.studies} - {""}


def find(
    lake: Lake, catalogs: Iterable[Manifest], key: HashKey, groups: Collection[str], patients: Collection[str] = ()
) -> Victims:
    """Everything that the catalogs of a lake say of some patients.

    Args:
        lake: The lake.
        catalogs: All its catalogs.
        key: Its key.
        groups: Keyed hashes of patients.
        patients: Patient ids.

    Returns:
        Victims; without images where no catalog knows any of them.
    """
    found: dict[str, set[str]] = {name: set() for name in ("image_ids", "groups", "studies", "keys", "sha256")}
    named: dict[str, set[str]] = {"patients": set(), "study_ids": set()}
    others: set[str] = set()
    reports: set[str] = set()
    for manifest in catalogs:
        images = lake.tables(manifest, "images-", ["image_id", "study", "group"]).to_pydict()
        sources = _by_image(lake.tables(manifest, "sources-"))
        mine: set[str] = set()
        for image, study, group in zip(images["image_id"], images["study"], images["group"], strict=True):
            source = sources.get(image)
            if group not in groups and (source is None or source["patient"] not in patients):
                others |= {group, study}
                continue
            mine.add(study)
            for name, value in (("image_ids", image), ("groups", group), ("studies", study)):
                found[name].add(value)
            if source is not None:
                found["keys"].add(source["key"])
                found["sha256"].add(source["sha256"])
                named["patients"].add(source["patient"])
                named["study_ids"].add(source["study_id"])
        table = lake.tables(manifest, "reports-", ["study", "sha256"]).to_pydict()
        for study, digest in zip(table["study"], table["sha256"], strict=True):
            if study in mine:
                reports.add(study)
                found["sha256"].add(digest)
    hashes = {key.hash("group", patient) for patient in named["patients"]}
    asked = hashes | {group for group in groups if group in found["groups"]}
    # Near-duplicates may share a group with another patient, whose it then remains.
    for name in ("groups", "studies"):
        found[name] -= others
    return Victims(
        tokens=sorted(token(key, group) for group in asked),
        reports=len(reports),
        **{name: sorted(values) for name, values in (found | named).items()},
    )


def _by_image(sources: pa.Table) -> dict[str, dict[str, Any]]:
    names = ["image_id", "key", "sha256", "patient", "study_id"]
    return {row["image_id"]: row for row in sources.select(names).to_pylist()}
