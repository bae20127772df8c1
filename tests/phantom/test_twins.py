"""Twins differ in one factor, where its mask lies, and their names do not tell which is which."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.phantom import twins
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.twins import FIRST, SCHEMA, TOGGLED, draw_pair, render_pair, write_twins
from neuroconcepts_ray.phantom.world import BELOW_NOISE, FINDINGS

CONFIG = PhantomConfig(seed=5, patients=3, twins=2, height=76, width=64)
COVERED, DILATION, LEVELS = 0.95, 2, 2


@pytest.mark.parametrize("factor", TOGGLED)
def test_masks_cover_what_changes_between_twins(factor: str) -> None:
    """Of the pixels that differ by more than 2 grey levels, 95 % and more lie within 2 pixels of the mask."""
    config = PhantomConfig(seed=5)
    changed_at_all = 0
    for number in range(4):
        without, within, mask = render_pair(config, draw_pair(config, factor, number))
        changed = np.abs(within.astype(int) - without.astype(int)) > LEVELS
        changed_at_all += int(changed.sum())
        assert mask.any()
        if changed.any():
            assert changed[binary_dilation(mask, iterations=DILATION)].sum() >= COVERED * changed.sum()
    assert (changed_at_all == 0) is (factor in BELOW_NOISE)


@pytest.mark.parametrize("factor", TOGGLED)
def test_a_pair_differs_in_its_factor_alone(factor: str) -> None:
    for number in range(5):
        pair = draw_pair(CONFIG, factor, number)
        assert pair.patient.index >= FIRST > CONFIG.patients
        assert pair.without.films == pair.within.films
        before = {finding.name: finding for finding in pair.without.findings}
        after = {finding.name: finding for finding in pair.within.findings}
        moved = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        if factor in FINDINGS:
            assert moved == {factor} == after.keys() - before.keys()
        elif pair.finding is not None:
            # An attribute: the finding that has it is in both films.
            assert moved == {pair.finding.name} == before.keys() & moved
        else:
            assert not moved
        assert pair.within.others - pair.without.others == ({factor} - {*FINDINGS} if pair.finding is None else set())
        assert pair.without.others <= pair.within.others


def digests(root: Path) -> dict[str, str]:
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("twins")
    assert write_twins(CONFIG, base / "twins", base / "truth") == 2
    return base


def test_the_films_of_a_pair_are_there_under_names_and_sizes_that_tell_nothing(written: Path) -> None:
    table = pq.read_table(written / "truth" / "twins.parquet")
    assert table.schema.equals(SCHEMA)
    rows = table.to_pylist()
    assert [row["factor"] for row in rows] == [*TOGGLED] * CONFIG.twins
    films = {path.stem: path for path in (written / "twins").iterdir()}
    assert films.keys() == {row[key] for row in rows for key in ("without", "with")}
    assert len({path.stat().st_size for path in films.values()}) == 1
    assert all(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}", name) for name in films)
    first = [row["with"] < row["without"] for row in rows]
    assert 0.25 < np.mean(first) < 0.75
    row = next(row for row in rows if row["factor"] == "Consolidation")
    assert (row["side"] in ("left", "right"), row["zone"] in ("upper", "mid", "lower")) == (True, True)
    without, within = (np.asarray(Image.open(films[row[key]]), int) for key in ("without", "with"))
    left, top, right, bottom = row["bbox"]
    change = np.abs(without - within)
    assert change[top:bottom, left:right].mean() > 4 * change.mean() > 0


def test_twins_are_the_same_bytes_by_any_number_of_processes_and_are_left_alone(written: Path, tmp_path: Path) -> None:
    many = CONFIG.model_copy(update={"processes": 2, "patients": 9})
    assert write_twins(many, tmp_path / "twins", tmp_path / "truth") == 2
    assert digests(tmp_path) == digests(written)
    assert write_twins(many, tmp_path / "twins", tmp_path / "truth") == 0


def test_stopped_twins_are_finished_and_more_can_be_appended(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = twins._write_number

    def stop(*arguments: object) -> int:
        if arguments[-1] == 1:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(twins, "_write_number", stop)
        with pytest.raises(KeyboardInterrupt):
            write_twins(CONFIG, tmp_path / "twins", tmp_path / "truth")
    assert not (tmp_path / "truth" / "twins.parquet").exists()
    assert write_twins(CONFIG, tmp_path / "twins", tmp_path / "truth") == 1
    assert digests(tmp_path) == digests(written)
    assert write_twins(CONFIG.model_copy(update={"twins": 3}), tmp_path / "twins", tmp_path / "truth") == 1
    with pytest.raises(ConfigError, match="more twins"):
        write_twins(CONFIG, tmp_path / "twins", tmp_path / "truth")


def test_twins_of_another_config_are_refused_and_the_truth_may_not_lie_among_them(written: Path) -> None:
    with pytest.raises(ConfigError, match="another config"):
        write_twins(CONFIG.model_copy(update={"seed": 6}), written / "twins", written / "truth")
    with pytest.raises(ConfigError, match="truth"):
        write_twins(CONFIG, written / "twins", written / "twins" / "truth")
