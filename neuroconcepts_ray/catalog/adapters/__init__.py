"""THE table of adapters: what each archive's layout is called, which module reads it, which config fields are its own.

Nothing heavy is imported here: an adapter's module is loaded when it is asked for.
"""

import fnmatch
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuroconcepts_ray.catalog.archive import Archive
    from neuroconcepts_ray.catalog.config import CatalogConfig
    from neuroconcepts_ray.catalog.keys import HashKey
    from neuroconcepts_ray.catalog.trees import Tree


@dataclass(frozen=True)
class Adapter:
    """A layout of archives.

    Attributes:
        name: As ``catalog.adapter`` says it.
        does: The layout in one line.
        fields: Fields of :class:`~neuroconcepts_ray.catalog.config.CatalogConfig` that only some adapters take and
            this one does.
        splits: Whether such archives come with a split of their own.
        layout: What lies at the archive's root: names of files, perhaps with ``*``; of folders with a slash behind.
    """

    name: str
    does: str
    fields: frozenset[str] = frozenset()
    splits: bool = True
    layout: tuple[str, ...] = ()

    def missing(self, root: "Tree") -> list[str]:
        """What of the layout is not at an archive's root; nothing else is looked at."""
        names = root.names()
        return [
            name
            for name in self.layout
            if not (root.is_dir(name.rstrip("/")) if name.endswith("/") else fnmatch.filter(names, name))
        ]

    def scan(self, config: "CatalogConfig", root: "Tree", reports: "Tree | None", key: "HashKey") -> "Archive":
        """Look at an archive of this layout once.

        Args:
            config: Labels, views, and the adapter's own fields.
            root: The archive.
            reports: The reports' tree, where the config names one.
            key: Keys the hashes of identifiers that may carry patients.

        Raises:
            InputError: The archive is damaged or contradicts itself.
            ConfigError: Labels or fields that do not fit the archive.
        """
        module = importlib.import_module(f"{__name__}.{self.name.replace('-', '_')}")
        scan: Callable[..., Archive] = module.scan
        return scan(config, root, reports, key)


TABLE: tuple[Adapter, ...] = (
    Adapter(
        "mimic-cxr-jpg",
        "MIMIC-CXR-JPG 2.x: files/pXX/pSUBJECT/sSTUDY/ID.jpg with its csv.gz tables.",
        frozenset({"reports", "labeller"}),
        layout=("files/", "mimic-cxr-2.*-metadata.csv.gz", "mimic-cxr-2.*-split.csv.gz"),
    ),
    Adapter("folder", "One folder a class: [SPLIT/]CLASS/ID.ext.", frozenset({"positive", "group_pattern"})),
    Adapter(
        "ham10000",
        "HAM10000: HAM10000_metadata.csv and folders of ISIC_*.jpg, as Kaggle or Dataverse give it.",
        frozenset({"positive", "injected"}),
        splits=False,
        layout=("HAM10000_metadata*",),
    ),
    Adapter(
        "r2gen",
        "annotation.json and images/ of R2Gen: IU X-Ray, MIMIC-CXR.",
        frozenset({"labels_file"}),
        layout=("annotation.json", "images/"),
    ),
    Adapter(
        "fairvlmed",
        "Harvard-FairVLMed: Training|Validation|Test/data_XXXXX.npz with its tables.",
        frozenset({"notes"}),
    ),
    Adapter(
        "csv", "Any table that names image files; its columns are mapped.", frozenset({"csv", "positive", "reports"})
    ),
    Adapter("ddsm", "DeepMiner's DDSM: ddsm_raw, ddsm_patches, ddsm_masks and their lists.", frozenset({"ddsm"})),
    Adapter(
        "cbis-ddsm", "CBIS-DDSM: its four csv tables with TCIA's DICOM tree or Kaggle's jpeg.", frozenset({"cbis"})
    ),
    Adapter(
        "dicom",
        "A folder or DICOMweb export of DICOM files, named by their headers.",
        frozenset({"dicom", "labels_file"}),
        splits=False,
    ),
)


def adapter(name: str) -> Adapter:
    """The adapter of that name; KeyError where there is none."""
    return {entry.name: entry for entry in TABLE}[name]
