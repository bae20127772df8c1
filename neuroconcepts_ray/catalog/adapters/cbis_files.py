"""Where CBIS-DDSM's mammograms, crops and masks are: the tables' own paths name no file of any download.

The Data Retriever renames studies, series and files; Kaggle has jpegs by series. What holds everywhere is the name of
the case's folder, which the DICOM files carry as their PatientID. Crop and mask lie in one folder in either order, and
the tables often have them the wrong way round: the mask is as large as the mammogram, the crop is smaller.
"""

import csv
import io
from collections.abc import Container
from dataclasses import dataclass, field

from neuroconcepts_ray.catalog.headers import read_headers
from neuroconcepts_ray.catalog.trees import Entry, Tree, is_image
from neuroconcepts_ray.errors import EnvironmentFault, InputError

INFO = "csv/dicom_info.csv"

Size = tuple[int, int, int]
"""Rows, columns, bits; zeros where unknown."""


@dataclass
class Files:
    """The files of an archive by the name of their case's folder.

    Attributes:
        of_case: Files by case.
        sizes: Rows, columns and bits of files, by key.
        junk: Files that are no images.
        unlisted: Images of no case that was asked for.
    """

    of_case: dict[str, list[Entry]] = field(default_factory=dict)
    sizes: dict[str, Size] = field(default_factory=dict)
    junk: int = 0
    unlisted: int = 0

    def image(self, case: str, path: str) -> Entry | None:
        """The mammogram of a case; of several the one at the table's path, or the largest."""
        files = self.of_case.get(case, [])
        exact = [file for file in files if file.key.endswith(path)]
        return exact[0] if exact else max(files, key=lambda file: (file.size, file.key), default=None)

    def crop(self, case: str, image: str) -> Entry | None:
        """The crop of an abnormality."""
        return self._pair(case, image)[0]

    def mask(self, case: str, image: str) -> Entry | None:
        """The mask of an abnormality."""
        return self._pair(case, image)[1]

    def _pair(self, case: str, image: str) -> tuple[Entry | None, Entry | None]:
        """Crop and mask. Masks have 8 bits and the mammogram's size, crops 16 and less: area tells, then bits."""
        files = sorted(self.of_case.get(case, []), key=self._area)
        if len(files) > 1:
            return files[0], files[-1]
        if not files:
            return None, None
        whole = max((self._area(file)[0] for file in self.of_case.get(image, [])), default=0)
        alone_is_mask = whole > 0 and self._area(files[0])[0] >= 0.9 * whole
        return (None, files[0]) if alone_is_mask else (files[0], None)

    def _area(self, file: Entry) -> tuple[int, int, str]:
        rows, columns, bits = self.sizes.get(file.key, (0, 0, 0))
        return rows * columns, -bits, file.key


def find_files(root: Tree, cases: Container[str]) -> Files:
    """Find the files of cases.

    Args:
        root: The archive.
        cases: Names of their folders, from the tables.

    Raises:
        InputError: ``jpeg/`` without its ``csv/dicom_info.csv``, or that one is damaged.
        EnvironmentFault: A file cannot be read.
    """
    jpegs = root.is_dir("jpeg")
    info = _info(root) if jpegs else {}
    found = Files()
    entries = sorted(root.walk("jpeg" if jpegs else ""), key=lambda entry: entry.key)
    for entry in entries:
        if not is_image(entry.key):
            found.junk += not entry.key.endswith(".csv")
            continue
        if jpegs:
            case, size = info.get(entry.key, ("", (0, 0, 0)))
            found.sizes[entry.key] = size
        else:
            case = next((part for part in entry.key.split("/")[:-1] if part in cases), "")
        if case in cases:
            found.of_case.setdefault(case, []).append(entry)
        else:
            found.unlisted += 1
    if not jpegs:
        _read_sizes(root, found)
    return found


def _read_sizes(root: Tree, found: Files) -> None:
    files = [file for those in found.of_case.values() for file in those]
    for file, header in zip(files, read_headers(root, files), strict=True):
        if header is not None:
            rows, columns, bits = (int(header.tags.get(tag) or 0) for tag in ("Rows", "Columns", "BitsStored"))
            found.sizes[file.key] = rows, columns, bits


def _info(root: Tree) -> dict[str, tuple[str, Size]]:
    """Case and size of Kaggle's jpegs, by key."""
    try:
        reader = csv.DictReader(io.StringIO(root.read(INFO).decode("utf-8-sig"), newline=""))
        return {
            "jpeg/" + row["image_path"].strip().replace("\\", "/").partition("jpeg/")[2]: (
                row["PatientID"].strip(),
                (_number(row["Rows"]), _number(row["Columns"]), _number(row["BitsStored"])),
            )
            for row in reader
        }
    except FileNotFoundError:
        raise InputError(
            "the archive has jpegs and lacks the table that says of what",
            value=INFO,
            where="catalog.root",
            remedy="Unpack the whole of Kaggle's archive: csv/ beside jpeg/",
        ) from None
    except EnvironmentFault:
        raise
    except (csv.Error, UnicodeDecodeError, KeyError, ValueError, AttributeError):
        raise InputError("a table of the archive is damaged or lacks a column", where=INFO) from None


def _number(text: str) -> int:
    return int(float(text)) if text.strip() else 0
