"""How much an archive has grown between two catalogs of it."""

from dataclasses import dataclass

import numpy as np

from neuroconcepts_ray.catalog.tables import load_catalog
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest


@dataclass(frozen=True)
class Growth:
    """What came.

    Attributes:
        films: New images.
        studies: Their studies.
        patients: Their patients.
        known: Those of these patients that were there before; they keep their role.
        reports: New reports.
        changed: What became of what was there before, where it is no longer the same.
    """

    films: int
    studies: int
    patients: int
    known: int
    reports: int
    changed: str = ""

    @property
    def sentence(self) -> str:
        """For people."""
        return (
            f"New: {self.films} films, {self.studies} studies, {self.patients} patients ({self.known} known already), "
            f"{self.reports} reports. {self.changed}"
        ).rstrip()


def growth(lake: Lake, before: Manifest, after: Manifest) -> Growth:
    """What a catalog has that an earlier one of the same archive has not.

    Args:
        lake: The lake.
        before: The earlier one.
        after: The later one; it may be the same.
    """
    if before.content == after.content:
        return Growth(0, 0, 0, 0, 0)
    old, new = load_catalog(lake, before), load_catalog(lake, after)
    fresh = ~np.isin(new.image_ids, old.image_ids)
    groups = np.unique(new.groups[fresh])
    texts = (set(lake.tables(one, "reports-", ["study"])["study"].to_pylist()) for one in (before, after))
    had, has = texts
    return Growth(
        films=int(fresh.sum()),
        studies=len(np.unique(new.studies[fresh])),
        patients=len(groups),
        known=int(np.isin(groups, old.groups).sum()),
        reports=len(has - had),
        changed=_changed(before, after),
    )


def _changed(before: Manifest, after: Manifest) -> str:
    if after.parts[: len(before.parts)] == before.parts:
        return ""
    if after.inputs.get("parent") == before.content:
        return "Labels, views or reports of earlier films changed; the films stay as they were mined."
    return "Earlier films changed or went, so that everything was catalogued anew."
