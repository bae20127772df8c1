"""The base of an index: segments over the codes' shards, cut so that last night's films cost their own size.

Each frozen partition of a catalog begins as a segment of its own; two neighbours are merged while the older is less
than ``GROWTH`` times as large as the younger. The cut is a function of the partitions alone, old segments are found
again by what they are made of, and an archive of M images grown night by night has O(log M) segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Receipt
from neuroconcepts_ray.lake.recipe import Plan, digest
from neuroconcepts_ray.neurons.tables import codes_of
from neuroconcepts_ray.retrieval.fetch import fetch
from neuroconcepts_ray.retrieval.forward import Forward
from neuroconcepts_ray.retrieval.ranking import Statistics
from neuroconcepts_ray.retrieval.snapshot import FILES, FORWARD, Draft, Snapshot, commit_snapshot
from neuroconcepts_ray.retrieval.tables import IMAGE_ID

GROWTH = 4
"""How many times larger than its younger neighbour a segment must be to stay apart from it."""

LARGEST = 2_000_000
"""Images of a segment that is merged no further: 700 MB of postings at k = 32."""


@dataclass(frozen=True)
class Source:
    """What a segment is made from.

    Attributes:
        codes: Parts of the codes.
        partitions: Numbers of the catalog's partitions.
        rows: Images.
    """

    codes: tuple[Part, ...]
    partitions: tuple[int, ...]
    rows: int

    def joined(self, younger: "Source") -> "Source":
        """This one and its younger neighbour as one."""
        return Source(self.codes + younger.codes, self.partitions + younger.partitions, self.rows + younger.rows)


def cut(partitions: Sequence[Source]) -> list[Source]:
    """Merge partitions into segments.

    Args:
        partitions: One source each, in order.
    """
    segments: list[Source] = []
    for one in partitions:
        segments.append(one)
        while len(segments) > 1 and segments[-2].rows < GROWTH * segments[-1].rows:
            if segments[-2].rows + segments[-1].rows > LARGEST:
                break
            younger = segments.pop()
            segments[-1] = segments[-1].joined(younger)
    return segments


def sources(lake: Lake, catalog: Manifest, codes: Manifest) -> list[Source]:
    """The segments of a catalog's codes.

    Args:
        lake: The lake.
        catalog: The catalog.
        codes: Codes of its images.
    """
    shards = [part for part in codes.parts if part.shard and part.rows]
    home: dict[str, int] = {}
    for number, part in enumerate(_image_parts(catalog)):
        home |= dict.fromkeys(lake.table(part, [IMAGE_ID])[IMAGE_ID].to_pylist(), number)
    by_partition: dict[int, list[Part]] = {}
    for part in shards:
        # A shard never crosses a partition: it is cut from one.
        first = lake.table(part, [IMAGE_ID])[IMAGE_ID][0].as_py()
        by_partition.setdefault(home[first], []).append(part)
    return cut(
        [Source(tuple(parts), (number,), sum(p.rows for p in parts)) for number, parts in sorted(by_partition.items())]
    )


def build(lake: Lake, plan: Plan, name: str, catalog: Manifest, codes: Manifest, cache: Path) -> Manifest:
    """Make the base of an index; segments that an older base has are taken as they are.

    Args:
        lake: The lake.
        plan: The base's plan.
        name: Its role in the pipeline.
        catalog: The catalog.
        codes: Codes of its images.
        cache: Folder for what has been fetched and checked.

    Raises:
        InputError: An image of the codes is not in the catalog.
    """
    n = int(codes.facts["n"])
    parts: list[Part] = []
    segments: list[tuple[str, int]] = []
    frequency: Int64[np.ndarray, " n"] = np.zeros(n, np.int64)
    for source in sources(lake, catalog, codes):
        key = _key(plan, source, catalog, n)
        found = [lake.receipt(plan, f"{key}.{file}") for file in FILES]
        kept = [receipt.part for receipt in found if receipt is not None]
        if len(kept) == len(FILES):
            part = kept[FILES.index(FORWARD)]
            frequency = frequency + Forward.open(fetch(lake, part, cache), n=n).sizes
        else:
            draft = _draft(lake, key, source, catalog, n)
            kept = [
                lake.commit_receipt(plan, Receipt(shard=part.name, part=part)).part for part in draft.put(lake, plan)
            ]
            frequency = frequency + draft.frequency
        parts += kept
        segments.append((key, source.rows))
    snapshot = Snapshot(tuple(segments), {}, Statistics(sum(rows for _, rows in segments), frequency))
    return commit_snapshot(lake, plan, name, snapshot, parts, {"codes": codes.recipe})


def _image_parts(catalog: Manifest) -> list[Part]:
    return [part for part in catalog.parts if part.name.startswith("images-")]


def _key(plan: Plan, source: Source, catalog: Manifest, n: int) -> str:
    images = _image_parts(catalog)
    codes = [part.sha256 for part in source.codes]
    return digest([plan.recipe.digest, n, codes, [images[number].sha256 for number in source.partitions]])


def _draft(lake: Lake, key: str, source: Source, catalog: Manifest, n: int) -> Draft:
    codes = codes_of([lake.table(part) for part in source.codes], n)
    images = _image_parts(catalog)
    table = pa.concat_tables([lake.table(images[number]) for number in source.partitions])
    place = {image_id: row for row, image_id in enumerate(table[IMAGE_ID].to_pylist())}
    try:
        rows = [place[image_id] for image_id in codes.image_ids.tolist()]
    except KeyError as error:
        raise InputError("an image is not in the catalog", value=error.args[0], remedy="Run `encode` again") from None
    return Draft.of(key, codes.matrix, table.take(pa.array(rows, pa.int64())))
