"""Whether a lake is whole: every record, every part's size and digest, and that all of them agree with one another."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

from neuroconcepts_ray.lake.checks import COPY, Problem, check_manifest, check_part, check_phi, check_refs, receipt_key
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Part, Receipt
from neuroconcepts_ray.lake.survey import RECEIPT, THREADS, Survey, survey

Advance = Callable[[int], None]

Track = Callable[[int], AbstractContextManager[Advance]]
"""Given the bytes to read; the function that it yields is told of every advance."""


@dataclass
class Report:
    """What was looked at, and what was found.

    Attributes:
        artifacts: Manifests whose every part was checked.
        records: Refs, receipts and manifests that were read.
        parts: Parts whose bytes were read.
        bytes: Their size.
        problems: In order of their keys; none where all is well.
    """

    artifacts: int = 0
    records: int = 0
    parts: int = 0
    bytes: int = 0
    problems: list[Problem] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"ok": not self.problems}


def verify(lake: Lake, roots: Iterable[str] = (), *, everything: bool = False, track: Track | None = None) -> Report:
    """Check what the refs and ``roots`` reach, or all there is.

    Args:
        lake: The lake.
        roots: Keys of further manifests, such as those of a config's finished artifacts.
        everything: All manifests and receipts instead.
        track: How progress is told.
    """
    found = survey(lake)
    wanted = sorted(found.manifests if everything else found.reach({*found.pointed(), *roots}))
    owners = _owners(found, wanted, everything)
    problems = _damaged(found, owners, everything)
    problems += [problem for key in wanted for problem in check_manifest(found, key)]
    problems += [*check_refs(found), *check_phi(lake.phi)]

    named = [part for key in wanted for part in found.manifests[key].parts]
    named += [receipt.part for key, receipt in found.receipts.items() if key in owners]
    parts = list({(part.root, part.key): part for part in named}.values())
    total = sum(part.bytes for part in parts)
    with (track or _silent)(total) as advance:
        problems += _parts(lake, parts, owners, found.receipts, advance)
    records = len(found.manifests) + len(found.receipts) + sum(map(len, found.refs.values()))
    return Report(len(wanted), records, len(parts), total, sorted(set(problems)))


@contextlib.contextmanager
def _silent(_: int) -> Iterator[Advance]:
    yield lambda _: None


def _owners(found: Survey, wanted: Sequence[str], everything: bool) -> dict[str, list[str]]:
    """Keys of the manifests that name a part, by its key; and those whose shard a receipt is of, by the receipt's."""
    owners: dict[str, list[str]] = {}
    for key in wanted:
        for part in found.manifests[key].parts:
            owners.setdefault(part.key, []).append(key)
            owners.setdefault(receipt_key(part), []).append(key)
    if everything:
        for key, receipt in found.receipts.items():
            owners.setdefault(key, [])
            owners.setdefault(receipt.part.key, [])
    return owners


def _damaged(found: Survey, owners: Mapping[str, list[str]], everything: bool) -> list[Problem]:
    return [
        Problem("lake", key, error.what, error.remedy or COPY)
        for key, error in found.damaged.items()
        if everything or key in owners or not RECEIPT.match(key)
    ]


def _parts(
    lake: Lake,
    parts: Sequence[Part],
    owners: Mapping[str, list[str]],
    receipts: Mapping[str, Receipt],
    advance: Advance,
) -> list[Problem]:
    def check(part: Part) -> Problem | None:
        what = check_part(lake.root(part.root), part)
        if what is None:
            return None
        names = [*([receipt_key(part)] if receipt_key(part) in receipts else []), *owners[part.key]]
        return Problem(part.root, part.key, what, f"{COPY}; or remove {', '.join(names)}, and run the stage again")

    with ThreadPoolExecutor(THREADS) as pool:
        problems = []
        for part, problem in zip(parts, pool.map(check, parts), strict=True):
            advance(part.bytes)
            if problem is not None:
                problems.append(problem)
    return problems
