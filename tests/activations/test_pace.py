"""What receipts say of seconds and bytes, who waits for whom, and which shards a canary has."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroconcepts_ray.activations.pace import CANARY_MOST, Crew, bottleneck, canary, cpu_s, crew, evenly, pace, wall_s
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.lake.manifest import Part, Quarantined, Receipt


def receipt(rows: int, size: int, bad: int = 0, **seconds: float) -> Receipt:
    aside = [Quarantined(image_id=f"b{j}", stage="activations", cause="truncated") for j in range(bad)]
    part = Part(name="s.parquet", key="k", sha256="0", bytes=size, rows=rows)
    return Receipt(shard="s", part=part, quarantined=aside, seconds=seconds)


PASS = {
    "activations.a": [receipt(8, 800, 2, read=1.0, decode=4.0, infer=2.0, write=1.0), receipt(10, 1200, decode=6.0)],
    "activations.b": [receipt(8, 80, 2, read=1.0, decode=4.0, infer=2.0, write=3.0)],
}


def test_an_image_shares_its_reading_and_is_written_once_an_artifact() -> None:
    found = pace(PASS)
    assert found is not None
    assert (found.receipts, found.images) == (3, 20)
    assert found.seconds == pytest.approx({"read": 0.05, "decode": 0.5, "infer": 0.1, "write": 0.05 + 0.3})
    assert found.bytes == {"activations.a": 100.0, "activations.b": 8.0}
    assert pace({"activations.a": []}) is None


@pytest.mark.parametrize(
    ("workers", "step", "wall"),
    [
        (Crew(loaders=1, actors=1, threads=1), "decode", 0.55),
        (Crew(loaders=4, actors=1, threads=1), "write", 0.45),
        (Crew(loaders=4, actors=4, threads=1), "decode", 0.1375),
        (Crew(loaders=4, actors=1, threads=2, cores=2), "write", 0.725),
        (Crew(loaders=4, actors=1, threads=2, gpus=1.0, cores=2), "write", 0.5),
    ],
)
def test_the_slower_side_sets_the_pace_and_no_more_is_done_than_the_processors_do(
    workers: Crew, step: str, wall: float
) -> None:
    found = pace(PASS)
    assert found is not None
    assert bottleneck(found, workers) == step
    assert wall_s(found, workers) == pytest.approx(wall)
    assert cpu_s(found, workers) == pytest.approx(0.55 + 0.45 * (1 if workers.gpus else workers.threads))


def test_loaders_have_what_actors_leave_but_always_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere")
    compute = ComputeConfig(cpus=8, actors=2)
    assert crew(compute, 3) == Crew(2, 2, 3)
    assert crew(compute, 3, 6.0).loaders == 1
    assert crew(compute, 3, 64.0).loaders == 58
    monkeypatch.delenv("RAY_ADDRESS")
    assert crew(compute, 3).cores is not None


@given(st.integers(0, 5000), st.integers(1, 70))
def test_numbers_are_spread_evenly_over_all_there_are(count: int, most: int) -> None:
    chosen = evenly(count, most)
    assert len(chosen) == min(count, most)
    assert all(0 <= number < count for number in chosen)
    gaps = {later - sooner for sooner, later in pairwise(chosen)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert 0 not in gaps


@pytest.mark.parametrize(("shards", "mined"), [(0, 0), (1, 1), (40, 1), (737, 7), (10_000, CANARY_MOST)])
def test_a_canary_is_one_percent_at_least_one_and_at_most_sixteen(shards: int, mined: int) -> None:
    assert len(canary(shards)) == mined
