"""Files that are drawn and not yet written, so that no clock tells what is on them.

A film with much on it takes longer to draw. Were each written as soon as it is drawn, the times of change of files and
folders would tell how long each took: its AUROC for a finding was up to 0.6. So films are drawn first and written
together, and between two of them lies nothing but the writing of files of one length.
"""

from dataclasses import dataclass, field
from pathlib import Path

FULL = 256 * 2**20
"""Bytes at which a shelf is emptied, so that memory does not grow with the films."""


@dataclass
class Shelf:
    """Files of one block of patients, in the order in which they were drawn.

    Args:
        archive: Root of films and tables.
        reports: Root of the reports tree.
    """

    archive: Path
    reports: Path
    _files: list[tuple[Path, bytes]] = field(default_factory=list)
    _held: int = 0

    def put(self, key: str, data: bytes) -> None:
        """A file of the archive, by its path below the root."""
        self._hold(self.archive / key, data)

    def put_report(self, key: str, text: str) -> None:
        """A report, by its path below the reports' root."""
        self._hold(self.reports / key, text.encode())

    def _hold(self, path: Path, data: bytes) -> None:
        self._files.append((path, data))
        self._held += len(data)
        if self._held >= FULL:
            self.empty()

    def empty(self) -> None:
        """Write what is held; the receipt of the block is written after it, so a torn file is written again."""
        for path, data in self._files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self._files.clear()
        self._held = 0


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all; what a killed run left of it is overwritten."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
