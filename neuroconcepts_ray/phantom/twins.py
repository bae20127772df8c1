"""Counterfactual twins: two films of one person at one moment, alike in all but one factor.

What a network says of both differs by that factor alone: pose, exposure, noise, marks and every other finding are the
same. Their patients are in no archive. Films lie in a folder of their own under names that tell nothing, which of the
two is which is in the truth.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, UInt8

from neuroconcepts_ray.config import recipe_fields
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.phantom.config import ALGORITHM, PhantomConfig
from neuroconcepts_ray.phantom.draw import Finding, Patient, Study, draw_patient, generator, place
from neuroconcepts_ray.phantom.films import render
from neuroconcepts_ray.phantom.jpeg import encode
from neuroconcepts_ray.phantom.pool import each
from neuroconcepts_ray.phantom.shelf import write_whole
from neuroconcepts_ray.phantom.truth import FACTORS, SPICULATED, bbox, png
from neuroconcepts_ray.phantom.world import DEVICES, FINDINGS

FIRST = 250_000
"""Number of the first pair's patient; no archive reaches so far."""

TOGGLED = tuple(
    name for name, kind in FACTORS.items() if kind in ("finding", "unreported", "attribute", "shortcut")
)  # fmt: skip
"""The factors that have twins, in their order."""

SCHEMA = pa.schema(
    [
        ("pair", pa.int64()),
        ("factor", pa.string()),
        ("kind", pa.string()),
        ("without", pa.string()),
        ("with", pa.string()),
        ("side", pa.string()),
        ("zone", pa.string()),
        ("severity", pa.float32()),
        ("size", pa.float32()),
        ("bbox", pa.list_(pa.int32())),
        ("mask", pa.binary()),
    ],
    metadata={
        "without": "image_id of the film without the factor",
        "with": "image_id of the film with it",
        "severity": "of the finding that is toggled, or whose attribute is; null of others",
        "mask": "PNG of one bit, as large as the film: what the factor changes",
    },
)


@dataclass(frozen=True)
class Pair:
    """One moment of one person, and what the two films of it show."""

    number: int
    factor: str
    patient: Patient
    without: Study
    within: Study
    names: tuple[str, str]

    @property
    def finding(self) -> Finding | None:
        """The finding that is toggled, or whose attribute is."""
        name = {SPICULATED: "Lung Lesion"} | dict.fromkeys(DEVICES, "Support Devices")
        wanted = name.get(self.factor, self.factor)
        return next((finding for finding in self.within.findings if finding.name == wanted), None)


def draw_pair(config: PhantomConfig, factor: str, number: int) -> Pair:
    """A pair of a factor: a patient's first study, with the factor put in and taken out.

    A margin is toggled on a lesion, a device beside another one, so that no finding comes or goes with an attribute.

    Args:
        config: Which world.
        factor: One of :data:`TOGGLED`.
        number: Which pair of the factor, from 0.
    """
    index = FIRST + number * len(TOGGLED) + TOGGLED.index(factor)
    patient = draw_patient(config, index)
    study = replace(patient.studies[0], earlier=None)
    # Kind "film" of a film that no study has.
    rng = generator(config, "film", index, 99, 99)
    chance, key = rng.random(9).tolist(), int(rng.integers(2**31))
    there = {finding.name: finding for finding in study.findings}
    names = _names(config, index)

    def pair(without: Finding | None, within: Finding) -> Pair:
        others = tuple(finding for finding in study.findings if finding.name != within.name)
        bare = (*others, without) if without is not None else others
        return Pair(
            index - FIRST, factor, patient, replace(study, findings=bare), replace(study, findings=(*others, within)),
            names,
        )  # fmt: skip

    if factor in FINDINGS:
        return pair(None, there.get(factor) or place(factor, chance, key))
    if factor == SPICULATED:
        lesion = there.get("Lung Lesion") or place("Lung Lesion", chance, key)
        return pair(replace(lesion, margin="smooth"), replace(lesion, margin="spiculated"))
    if factor in DEVICES:
        carrier = there.get("Support Devices") or place("Support Devices", chance, key)
        left = tuple(device for device in carrier.devices if device != factor)
        left = left or (DEVICES[(DEVICES.index(factor) + 1 + int(chance[0] * 3)) % len(DEVICES)],)
        return pair(replace(carrier, devices=left), replace(carrier, devices=tuple(sorted((*left, factor)))))
    bare, full = study.others - {factor}, study.others | {factor}
    return Pair(index - FIRST, factor, patient, replace(study, others=bare), replace(study, others=full), names)


def _names(config: PhantomConfig, index: int) -> tuple[str, str]:
    digits = hashlib.sha512(f"twins/{config.seed}/{index}".encode()).hexdigest()
    first, second = ("-".join(digits[at + i : at + i + 8] for i in range(0, 40, 8)) for at in (0, 44))
    return first, second


def render_pair(
    config: PhantomConfig, pair: Pair
) -> tuple[UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The film without the factor, the film with it, and the mask of what differs."""
    film = pair.without.films[0]
    without, _ = render(config, pair.patient, pair.without, film)
    within, masks = render(config, pair.patient, pair.within, film)
    return without, within, masks[pair.factor]


def write_twins(
    config: PhantomConfig,
    root: Path,
    truth_root: Path,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write ``config.twins`` pairs of each factor, as far as they are not there yet.

    The truth is written last; until then each number's part of it is the receipt that its films are there.

    Args:
        config: Which world, and how many pairs.
        root: Folder of the films.
        truth_root: Root of the truth, not inside ``root``.
        progress: Called with how many pairs a factor were written since.

    Returns:
        Number of pairs a factor that were drawn now.

    Raises:
        ConfigError: The truth would lie among the films, or other twins lie there.
    """
    root, truth_root = Path(root).resolve(), Path(truth_root).resolve()
    if truth_root.is_relative_to(root):
        raise ConfigError("the truth must not lie among the twins", where="truth_root")
    parts = truth_root / "twins"
    digest = _digest(config)
    there = _parts_there(parts, digest)
    if any(number >= config.twins for number in there):
        raise ConfigError(
            "the folder holds more twins than asked for", value=config.twins, limit=f"at least {max(there) + 1}",
            where="phantom.twins", remedy="Give another root; twins can be appended, not taken away",
        )  # fmt: skip
    missing = [number for number in range(config.twins) if number not in there]
    if progress is not None:
        progress(len(there))
    for _ in each(partial(_write_number, config, root, parts, digest), missing, config.processes):
        if progress is not None:
            progress(1)
    target = truth_root / "twins.parquet"
    if config.twins and (missing or not target.exists()):
        tables = [pq.read_table(parts / f"{number:04d}.parquet") for number in range(config.twins)]
        write_whole(target, to_parquet(pa.concat_tables(tables).replace_schema_metadata(SCHEMA.metadata)))
    return len(missing)


def _digest(config: PhantomConfig) -> str:
    ours = {key: value for key, value in recipe_fields(config).items() if key not in ("patients", "first", "twins")}
    return hashlib.sha256(json.dumps({"algorithm": ALGORITHM, "config": ours}, sort_keys=True).encode()).hexdigest()


def _parts_there(parts: Path, digest: str) -> list[int]:
    found = []
    for path in sorted(parts.glob("[0-9]*.parquet")):
        if (pq.read_schema(path).metadata or {}).get(b"config") != digest.encode():
            raise ConfigError(
                "the folder holds the twins of another config",
                where=str(parts),
                remedy="Give another root, or remove it",
            )
        found.append(int(path.stem))
    return found


def _write_number(config: PhantomConfig, root: Path, parts: Path, digest: str, number: int) -> int:
    """One pair of each factor: the films in the order of their names, then their truth."""
    films: dict[str, bytes] = {}
    rows: list[dict[str, object]] = []
    for factor in TOGGLED:
        pair = draw_pair(config, factor, number)
        without, within, mask = render_pair(config, pair)
        key = pair.without.films[0].key
        for name, image in zip(pair.names, (without, within), strict=True):
            films[name] = encode(image, config.quality, key)
        row: dict[str, object] = {
            "pair": pair.number, "factor": factor, "kind": FACTORS[factor], "without": pair.names[0],
            "with": pair.names[1], "bbox": bbox(mask), "mask": png(mask),
        }  # fmt: skip
        if pair.finding is not None:
            row |= {name: getattr(pair.finding, name) for name in ("side", "zone", "severity", "size")}
        rows.append(row)
    for name in sorted(films):
        write_whole(root / f"{name}.jpg", films[name])
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    write_whole(parts / f"{number:04d}.parquet", to_parquet(table.replace_schema_metadata({"config": digest})))
    return number
