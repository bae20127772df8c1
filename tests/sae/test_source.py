"""Training rows out of the lake: by the role of their image, the same in memory and on disk, each part read once."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from neuroconcepts_ray.activations.tables import activations_table
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Resident, Rows
from neuroconcepts_ray.sae.fit import Member, fit
from neuroconcepts_ray.sae.source import training_rows
from neuroconcepts_ray.sae.spool import Spooled

D = 6
ROLES = ("fit", "probe", "select", "verify", "test")


class Case:
    """A lake with 50 images of ten groups, the first of each five times as many rows as the last: positions."""

    def __init__(self, folder: Path, *, stranger: bool = False, roles: tuple[str, ...] = ROLES) -> None:
        self.lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
        ids = [f"i{number:02d}" for number in range(50)]
        given = [roles[number // 5 % len(roles)] for number in range(50)]
        table = pa.table(
            {"image_id": ids, "study": ids, "group": [f"g{number // 5}" for number in range(50)], "view": ["AP"] * 50}
            | {"role": given, "label:Edema": pa.array([0] * 50, pa.int8())}
        )
        plan = Plan(Recipe("catalog", 1, {}), {})
        part = self.lake.put_part(plan, "images-0000.parquet", to_parquet(table), rows=50)
        facts = {"labels": ["Edema"], "task": "multilabel", "partitions": [50]}
        self.catalog = self.lake.commit_manifest(plan, "catalog", [part], facts=facts)
        rng = np.random.default_rng(0)
        repeated = [one for number, one in enumerate(ids) for _ in range(5 - number % 5)]
        if stranger:
            repeated[70] = "unknown"
        x = rng.gamma(2, 1, (len(repeated), D)).astype(np.float32)
        role = dict(zip(ids, given, strict=True))
        self.expected = x[[role.get(one) in ("fit", "probe") for one in repeated]]
        self.reads: Counter[str] = Counter()
        self.activations = self.mined(repeated, x)

    def mined(self, ids: list[str], x: np.ndarray) -> Manifest:
        plan = Plan(Recipe("activations", 1, {"tap": "layer3"}), {})
        parts = []
        for start in [0, *range(0, len(ids), 16)]:
            stop = start + 16 if parts else 0  # the first is empty: all of its images were set aside
            data = to_parquet(activations_table(ids[start:stop], x[start:stop]))
            parts.append(self.lake.put_part(plan, f"{len(parts)}.parquet", data, rows=len(ids[start:stop])))
        facts = {"tap": "layer3", "d": D}
        return self.lake.commit_manifest(plan, "activations.layer3", parts, facts=facts)

    def rows(self, memory: float, patch: pytest.MonkeyPatch) -> Rows:
        read = Lake.read

        def counted(lake: Lake, part: Part) -> bytes:
            self.reads[part.key] += 1
            return read(lake, part)

        self.reads.clear()
        with patch.context() as now:
            now.setattr(Lake, "read", counted)
            return training_rows(self.lake, self.catalog, self.activations, memory, "cpu")


SMALL = 32 * D * 4 / 1e9


@pytest.mark.parametrize(("memory", "kind"), [(1.0, Resident), (SMALL, Spooled), (1e-9, Spooled)])
def test_each_row_counts_by_the_role_of_its_image_and_each_part_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: float, kind: type
) -> None:
    case = Case(tmp_path)
    rows = case.rows(memory, monkeypatch)
    assert isinstance(rows, kind)
    assert (len(rows), rows.d) == case.expected.shape
    assert np.array_equal(torch.cat(list(rows.blocks())).numpy(), case.expected)
    assert {case.reads[part.key] for part in case.activations.parts} == {1}


def test_a_training_over_positions_gives_the_same_bytes_in_memory_and_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path)
    config = SAEConfig(latents=16, k=2, steps=20, batch_size=16, warmup=5, threads=1)
    states = []
    for memory in (1.0, SMALL):
        rows = case.rows(memory, monkeypatch)
        member = Member(config, begin(rows, config))
        fit(rows, [member], lambda *_: None)
        states.append(member.state.tensors())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


def test_images_that_the_catalog_lacks_and_roles_without_images_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="not in the catalog"):
        Case(tmp_path / "stranger", stranger=True).rows(1.0, monkeypatch)
    with pytest.raises(InputError, match="no image has any of these roles"):
        Case(tmp_path / "nobody", roles=("select", "test")).rows(1.0, monkeypatch)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("memory", [1.0, SMALL])
def test_values_that_are_not_finite_are_refused_by_their_tap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, memory: float
) -> None:
    case = Case(tmp_path)
    x = np.ones((150, D), dtype=np.float32)
    x[3, 2] = value
    plan = Plan(Recipe("activations", 1, {"tap": "other"}), {})
    data = to_parquet(activations_table([f"i{number % 50:02d}" for number in range(150)], x))
    part = case.lake.put_part(plan, "0.parquet", data, rows=150)
    case.activations = case.lake.commit_manifest(plan, "activations.other", [part], facts={"tap": "other", "d": D})
    with pytest.raises(InputError, match=r"not finite .*activations\.other"):
        begin(case.rows(memory, monkeypatch), SAEConfig(tap="other", k=2))
