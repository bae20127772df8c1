"""What has been looked at for twins, below phi_root: each film is decoded once, each two films are compared once.

catalog/<ref>/looks/<chunk>.parquet           sha256 and hash of up to 4,096 films
catalog/<ref>/thumbs/<chunk>.parquet          their thumbnails
catalog/<ref>/twins/<chunk>-<digest>.parquet  sha256, other, distance, likeness; the chunks that were compared
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import UInt8, UInt64

from neuroconcepts_ray.catalog import twins
from neuroconcepts_ray.catalog.looks import BITS, SIDE, Look, look, words
from neuroconcepts_ray.catalog.trees import Entry, Tree, unreadable_file
from neuroconcepts_ray.errors import EnvironmentFault, InputError
from neuroconcepts_ray.lake.recipe import digest, sha256
from neuroconcepts_ray.lake.store import Store
from neuroconcepts_ray.lake.table import from_parquet, to_parquet

CHUNK = 4096
"""Films of a file, so that a run that dies loses no more than these."""

THREADS = 16
"""Reading waits for disks, and Pillow decodes without the interpreter's lock."""

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Twin:
    """Two files that show the same film.

    Attributes:
        a: SHA-256 of one.
        b: SHA-256 of the other.
        distance: Bits by which their hashes differ.
        likeness: Correlation of their details.
    """

    a: str
    b: str
    distance: int
    likeness: float


class Seen:
    """The memory of an archive's looks.

    Args:
        phi: The store below phi_root: thumbnails are pictures of patients.
        ref: The catalog's ref.
    """

    def __init__(self, phi: Store, ref: str) -> None:
        self.phi = phi
        self.looks = f"catalog/{ref}/looks"
        self.thumbs = f"catalog/{ref}/thumbs"
        self.twins = f"catalog/{ref}/twins"
        self.chunks: dict[str, list[str]] = {}
        for key in sorted(phi.list(self.looks)):
            name = key.rpartition("/")[2].removesuffix(".parquet")
            films = self._table(key, ["sha256"])["sha256"].to_pylist()
            if films:  # none are left of a night whose one patient was erased
                self.chunks[name] = films

    def _table(self, key: str, columns: list[str] | None = None) -> pa.Table:
        data = self.phi.read(key)
        try:
            return from_parquet(data, columns)
        except (pa.ArrowException, OSError):
            remedy = f"Remove {self.looks.rpartition('/')[0]} below phi_root; all films are looked at once more"
            raise InputError("the memory of looks is damaged", where=key, remedy=remedy) from None

    @property
    def known(self) -> set[str]:
        """SHA-256 of every film that has a look."""
        return {film for films in self.chunks.values() for film in films}

    def look_at(self, tree: Tree, files: Mapping[str, Entry], advance: Advance) -> None:
        """Look at films that have no look yet; one that cannot be decoded or shows nothing is tried again next time.

        Args:
            tree: The archive.
            files: A file for each SHA-256.
            advance: Told how many films were done.

        Raises:
            EnvironmentFault: A file cannot be read, or changed since it was hashed.
        """
        known = self.known
        new = sorted(film for film in files if film not in known)
        advance(len(files) - len(new))
        with ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(new), CHUNK):
                some = new[start : start + CHUNK]
                looks = list(pool.map(lambda film: look(_read(tree, files[film], film)), some))
                seen = [(film, one) for film, one in zip(some, looks, strict=True) if one is not None]
                if seen:
                    self._remember([film for film, _ in seen], [one for _, one in seen])
                advance(len(some))

    def _remember(self, films: list[str], looks: Sequence[Look]) -> None:
        name = digest(films)
        ids = pa.array(films, pa.string())
        hashes = pa.array([one.hash.tobytes() for one in looks], pa.binary(BITS // 8))
        thumbs = pa.array([one.thumb.tobytes() for one in looks], pa.binary(SIDE * SIDE))
        self.phi.write(f"{self.thumbs}/{name}.parquet", to_parquet(pa.table({"sha256": ids, "thumb": thumbs})))
        self.phi.write(f"{self.looks}/{name}.parquet", to_parquet(pa.table({"sha256": ids, "hash": hashes})))
        self.chunks[name] = films

    def _rows(self, folder: str, chunk: str, column: str) -> UInt8[np.ndarray, "n w"]:
        values = self._table(f"{folder}/{chunk}.parquet", [column])[column]
        return np.frombuffer(b"".join(values.to_pylist()), np.uint8).reshape(len(values), -1)

    def compare(self) -> list[Twin]:
        """All twins among the films seen, comparing those chunks that were never compared."""
        found, compared = self._compared()
        hashes: dict[str, UInt64[np.ndarray, "n 4"]] = {}
        for chunk in self.chunks:
            others = [other for other in self.chunks if frozenset((chunk, other)) not in compared]
            if not others:
                continue
            for name in {chunk, *others} - hashes.keys():
                hashes[name] = words(self._rows(self.looks, name, "hash"))
            new = self._between(chunk, others, hashes)
            self._write(chunk, others, new)
            found += new
            compared |= {frozenset((chunk, other)) for other in others}
        return found

    def _between(self, chunk: str, others: list[str], hashes: Mapping[str, UInt64[np.ndarray, "n 4"]]) -> list[Twin]:
        # The films of `chunk` are 0 … m − 1, those of the other chunks follow in their order.
        order = [chunk, *(other for other in others if other != chunk)]
        films = [film for name in order for film in self.chunks[name]]
        there = np.concatenate([hashes[name] for name in order])
        pairs = twins.near(hashes[chunk], there)
        inside = pairs[:, 1] < len(self.chunks[chunk])
        # Within the chunk each two once; where the chunk itself was compared before, not at all.
        kept = ~inside | ((pairs[:, 0] < pairs[:, 1]) & (chunk in others))
        edges = np.cumsum([0, *(len(self.chunks[name]) for name in order)])

        def thumbs(numbers: Sequence[int]) -> UInt8[np.ndarray, "k 64 64"]:
            wanted = np.asarray(numbers)
            out = np.empty((len(wanted), SIDE, SIDE), np.uint8)
            home = np.searchsorted(edges, wanted, side="right") - 1
            for at in np.unique(home).tolist():
                rows = self._rows(self.thumbs, order[at], "thumb")
                out[home == at] = rows[wanted[home == at] - edges[at]].reshape(-1, SIDE, SIDE)
            return out

        ranked = np.argsort(np.argsort(films))  # which film is moved onto which must not depend on when they came
        pairs = pairs[kept]
        turned = ranked[pairs[:, 0]] > ranked[pairs[:, 1]]
        pairs[turned, :2] = pairs[turned, 1::-1]
        confirmed = twins.confirm(pairs, thumbs)
        return [Twin(films[a], films[b], distance, alike) for a, b, distance, alike in confirmed]

    def _write(self, chunk: str, others: list[str], found: list[Twin]) -> None:
        table = pa.table(
            {
                "sha256": pa.array([twin.a for twin in found], pa.string()),
                "other": pa.array([twin.b for twin in found], pa.string()),
                "distance": pa.array([twin.distance for twin in found], pa.int16()),
                "likeness": pa.array([twin.likeness for twin in found], pa.float64()),
            }
        )
        told = {"chunk": chunk, "others": json.dumps(others)}
        self.phi.write(
            f"{self.twins}/{chunk}-{digest(others)}.parquet", to_parquet(table.replace_schema_metadata(told))
        )

    def _compared(self) -> tuple[list[Twin], set[frozenset[str]]]:
        found: list[Twin] = []
        compared: set[frozenset[str]] = set()
        for key in self.phi.list(self.twins):
            table = self._table(key)
            told = table.schema.metadata
            chunk = told[b"chunk"].decode()
            compared |= {frozenset((chunk, other)) for other in json.loads(told[b"others"])}
            columns = (table[name].to_pylist() for name in ("sha256", "other", "distance", "likeness"))
            found += [Twin(*row) for row in zip(*columns, strict=True)]
        return found, compared

    def keep(self, films: set[str]) -> None:
        """Remove the looks of all films but these, and the twins that they have.

        Args:
            films: Their SHA-256.
        """
        stay = pa.array(sorted(films), pa.string())
        for key in [key for folder in (self.looks, self.thumbs, self.twins) for key in self.phi.list(folder)]:
            table = from_parquet(self.phi.read(key))
            kept = pc.is_in(table["sha256"], value_set=stay)
            if "other" in table.column_names:
                kept = pc.and_(kept, pc.is_in(table["other"], value_set=stay))
            if not pc.all(kept).as_py():
                self.phi.write(key, to_parquet(table.filter(kept)))
        self.chunks = {name: [film for film in known if film in films] for name, known in self.chunks.items()}


def _read(tree: Tree, file: Entry, film: str) -> bytes:
    try:
        data = tree.read(file.key)
    except EnvironmentFault:
        raise
    except OSError as error:
        raise unreadable_file(error, "catalog.root") from None
    if sha256(data) != film:
        raise EnvironmentFault(
            "a file of the archive changed while it was catalogued",
            where="catalog.root",
            remedy="Run the same command again once nothing writes there",
        )
    return data
