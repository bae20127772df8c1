"""SHA-256 of an archive's files; a file that has kept size and time since the last look is not read again."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from neuroconcepts_ray.catalog.trees import Entry, Tree, unreadable_file
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.recipe import sha256
from neuroconcepts_ray.lake.store import Store
from neuroconcepts_ray.lake.table import from_parquet, to_parquet

THREADS = 16
"""Reading waits for disks, and hashing releases the interpreter's lock."""

TASK = 32
"""Files that a thread takes at a time."""

RACY_NS = 2_000_000_000
"""A file changed this shortly before it was read may change again within one tick of its clock: not remembered."""

Known = dict[tuple[str, int, str], str]
"""SHA-256 by (key, size, stamp)."""


def digest_files(
    tree: Tree, files: Sequence[Entry], known: Known, advance: Callable[[int], None], *, where: str = "catalog.root"
) -> list[str]:
    """SHA-256 of files, read only where it is not known.

    Args:
        tree: The tree.
        files: The files.
        known: What the last look found.
        advance: Told how many files were done since its last call.
        where: The config field that names the tree, for messages.

    Returns:
        One digest a file, 64 hexadecimal digits.

    Raises:
        EnvironmentFault: A file cannot be read, or changed meanwhile; its name, which may be a patient's id, is
            left out.
    """
    digests = [known.get((file.key, file.size, file.stamp), "") for file in files]
    unread = [row for row, digest in enumerate(digests) if not digest]
    advance(len(files) - len(unread))

    def read(rows: list[int]) -> list[str]:
        return [_digest(tree, files[row], where) for row in rows]

    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(unread), THREADS * TASK):  # a pool keeps an object for all that it was ever given
            some = unread[start : start + THREADS * TASK]
            tasks = [some[at : at + TASK] for at in range(0, len(some), TASK)]
            for rows, found in zip(tasks, pool.map(read, tasks), strict=True):
                for row, digest in zip(rows, found, strict=True):
                    digests[row] = digest
                advance(len(rows))
    return digests


def _digest(tree: Tree, file: Entry, where: str) -> str:
    try:
        digest, size = tree.digest(file.key)
    except EnvironmentFault:
        raise
    except OSError as error:
        raise unreadable_file(error, where) from None
    if size != file.size:
        raise EnvironmentFault(
            "a file of the archive changed while it was catalogued",
            where=where,
            remedy="Run the same command again once nothing writes there",
        )
    return digest


def read_known(phi: Store, key: str, tree: Tree) -> Known:
    """What the last look at this root found; nothing if there was none or it was elsewhere."""
    try:
        table = from_parquet(phi.read(key))
    except (FileNotFoundError, pa.ArrowInvalid):
        return {}
    if "stamp" not in table.column_names:  # written by an older version
        return {}
    if (table.schema.metadata or {}).get(b"root") != _place(tree):
        return {}
    columns = [table[name].to_pylist() for name in ("key", "size", "stamp", "sha256")]
    return {(name, size, stamp): digest for name, size, stamp, digest in zip(*columns, strict=True)}


def write_known(
    phi: Store, key: str, tree: Tree, files: Sequence[Entry], digests: Sequence[str], looked_ns: int
) -> None:
    """Remember what this look found, below phi_root and outside every artifact: times are no content.

    Args:
        phi: The store below phi_root.
        key: Where to remember.
        tree: The tree.
        files: The files.
        digests: Their digests.
        looked_ns: When the look began; files changed within two seconds of it are not remembered.
    """
    settled = looked_ns - RACY_NS
    kept = [
        (file, digest) for file, digest in zip(files, digests, strict=True) if file.stamp and file.changed_ns < settled
    ]
    table = pa.table(
        {
            "key": pa.array([file.key for file, _ in kept], pa.string()),
            "size": pa.array([file.size for file, _ in kept], pa.int64()),
            "stamp": pa.array([file.stamp for file, _ in kept], pa.string()),
            "sha256": pa.array([digest for _, digest in kept], pa.string()),
        }
    )
    phi.write(key, to_parquet(table.replace_schema_metadata({b"root": _place(tree)})))


def _place(tree: Tree) -> bytes:
    """Which tree it was, without saying where: nothing that is written names an absolute place."""
    return sha256(tree.uri.encode()).encode()
