"""A search of everything that was written for what may tell who a patient is."""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SHINGLE = 5
"""Words in a row that a report and something outside phi_root may not share."""

_WORD = re.compile(r"[a-z0-9_']+")
# Not inside a longer number, word, hash or decimal fraction.
_NUMBER = re.compile(r"(?<![0-9A-Za-z.])[ps]?(\d{8})(?![0-9A-Za-z])")
_PRINTABLE = re.compile(rb"[\x09\x0a\x0d\x20-\x7e\x80-\xff]{5,}")


def shingles(text: str) -> set[str]:
    """Every five words in a row, in lower case."""
    words = _WORD.findall(text.lower())
    return {" ".join(words[at : at + SHINGLE]) for at in range(len(words) - SHINGLE + 1)}


@dataclass(frozen=True)
class Secrets:
    """What may stand below phi_root alone.

    Attributes:
        numbers: Eight digits: patients, studies, dates; what each is.
        shingles: Of all reports.
    """

    numbers: dict[str, str]
    shingles: frozenset[str]

    @classmethod
    def of(cls, archive: Path, reports: Path) -> "Secrets":
        """All of an archive in MIMIC's layout."""
        numbers: dict[str, str] = {}
        table = next(archive.glob("*-metadata.csv.gz"))
        for row in csv.DictReader(io.StringIO(gzip.decompress(table.read_bytes()).decode())):
            numbers[row["subject_id"]] = "a patient"
            numbers[row["study_id"]] = "a study"
            numbers[row["StudyDate"]] = "a date"
        texts = (path.read_text() for path in sorted(reports.rglob("*.txt")))
        return cls(numbers, frozenset(five for text in texts for five in shingles(text)))

    def within(self, text: str) -> list[str]:
        """What of them stands in a text; kinds, and a report's words."""
        found = [self.numbers[number] for number in _NUMBER.findall(text) if number in self.numbers]
        return found + sorted(shingles(text) & self.shingles)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(key)
            yield from _strings(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, int):
        yield str(value)


def _is_numeric(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _is_numeric(kind.storage_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _is_numeric(kind.value_type)
    return bool(pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _parquet(data: bytes) -> Iterator[str]:
    file = pq.ParquetFile(pa.BufferReader(data))
    yield from _strings(dict(file.schema_arrow.metadata or {}))
    table = file.read()
    for name in table.column_names:
        yield name
        if not _is_numeric(table.schema.field(name).type):
            yield "\n".join(_strings(table[name].to_pylist()))


def readable(name: str, data: bytes) -> Iterator[str]:
    """All text in a file: of Parquet every value that is not a fraction, of anything else every run of characters."""
    if name.endswith(".parquet"):
        yield from _parquet(data)
    elif name.endswith(".gz"):
        yield from readable(name.removesuffix(".gz"), gzip.decompress(data))
    else:
        if name.endswith(".json"):
            yield "\n".join(_strings(json.loads(data)))  # whatever is escaped
        yield b"\n".join(_PRINTABLE.findall(data)).decode("latin-1")


def sweep(secrets: Secrets, roots: Iterable[Path], texts: dict[str, str], *, but: Iterable[Path] = ()) -> list[str]:
    """Every place where a secret stands: ``place: what``.

    Args:
        secrets: What is looked for.
        roots: Folders that are searched whole, names of files included.
        texts: Further texts by where they come from: outputs, answers, job metadata.
        but: Folders that may hold secrets.
    """
    found = [f"{place}: {what}" for place, text in texts.items() for what in secrets.within(text)]
    spared = list(but)
    for root in roots:
        for path in sorted(root.rglob("*")):
            if not path.is_file() or any(path.is_relative_to(folder) for folder in spared):
                continue
            place = str(path.relative_to(root))
            found += [f"name of {place}: {what}" for what in secrets.within(place)]
            try:
                data = path.read_bytes()
            except OSError:  # a socket, or gone meanwhile
                continue
            found += [f"{place}: {what}" for text in readable(path.name, data) for what in secrets.within(text)]
    return found
