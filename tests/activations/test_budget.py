"""Caps, the canary and the estimate, with the stage's own job in this process instead of Ray's actors."""

from collections.abc import Callable
from typing import Any

import pytest

from neuroconcepts_ray.activations import job
from neuroconcepts_ray.activations.budget import Budget, sample
from neuroconcepts_ray.activations.config import ActivationsConfig
from neuroconcepts_ray.activations.estimate import estimate, exceeded
from neuroconcepts_ray.activations.pace import pace
from neuroconcepts_ray.activations.passes import Work, work
from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.classifier.card import load_card
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.pixels.shards import image_slips, shard_sizes
from tests.inprocess import in_process

IDS = [f"i{number:02}" for number in range(12)]
CONFIG = validate(ActivationsConfig, {"batch_size": 2, "shard_rows": 3, "dtype": "float32", "taps": ["layer1"]})


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Runs the stage; gives the images that were inferred, whether or not it was stopped."""
    seen: list[str] = []

    def run(one: Any, *, canary: bool = False, **caps: Any) -> list[str]:
        seen.clear()
        compute = validate(ComputeConfig, {"cpus": 4, **caps})
        job.run(CONFIG, one.have, one.lake, compute, str(one.root), canary=canary)
        return list(seen)

    monkeypatch.setattr(job, "map_shards", in_process(seen))
    return run


@pytest.fixture
def one(world: Callable[[str], Any]) -> Any:
    made = world("one")
    made.catalogue([IDS[:8], IDS[8:]])
    return made


def ahead(one: Any) -> Work:
    """What the one pass has to do."""
    (found,) = work(CONFIG, one.have, one.lake)
    return found


def weight(one: Any) -> int:
    return sum(blob.bytes for blob in one.lake.store.scan("activations") if "/parts/" in blob.key)


def test_a_canary_is_mined_once_kept_and_says_what_the_rest_will_write(one: Any, mine: Any) -> None:
    before = ahead(one)
    assert (before.images, before.shards, len(before.todo), len(before.canary.todo)) == (12, 5, 5, 1)
    compute = ComputeConfig(cpus=4)
    nothing = estimate(before, None, compute, 2, None)
    assert (nothing.receipts, nothing.bytes, nothing.wall_hours, nothing.bottleneck) == (0, {}, None, None)

    canary = mine(one, canary=True)
    assert canary == IDS[6:8]  # the middle one of five shards, the last of its partition
    assert mine(one, canary=True) == []
    found = ahead(one)
    assert (len(found.todo), found.images_to_do, len(found.canary.todo)) == (4, 10, 0)
    told = estimate(found, pace(sample(one.lake, found)), compute, 2, None)
    assert (told.receipts, told.shards_done, told.images_to_do) == (3, 1, 10)
    assert told.bottleneck in {"read", "decode", "infer", "write"}
    first = weight(one)

    rest = mine(one)
    assert sorted(canary + rest) == IDS
    assert sum(told.bytes.values()) == pytest.approx(weight(one) - first, rel=0.5)  # footers weigh more than two rows
    assert ahead(one).of.plans == {}


def test_a_cap_on_bytes_stops_after_the_shard_that_reaches_it_and_what_is_done_counts(one: Any, mine: Any) -> None:
    with pytest.raises(EnvironmentFault, match=r"written what it may.*compute\.max_bytes 1\)") as error:
        mine(one, max_bytes=1)
    assert error.value.exit_code == 4
    assert "finished shards are kept" in str(error.value)
    assert len(ahead(one).todo) == 4
    assert mine(one) == IDS[3:]


def test_bytes_that_an_earlier_run_wrote_do_not_count(one: Any, mine: Any) -> None:
    with pytest.raises(EnvironmentFault):
        mine(one, max_bytes=1)
    mine(one, max_bytes=50 * weight(one))


def test_a_cap_on_hours_is_looked_at_after_every_shard(one: Any) -> None:
    now = iter([0.0, 1800.0, 3600.0])
    found = ahead(one)
    budget = Budget(one.lake, [found], ComputeConfig(max_hours=1.0), lambda: next(now))
    shard = found.lead[0].key
    budget.spend(shard)
    with pytest.raises(EnvironmentFault, match=r"lasted as long as it may.*got 1; allowed: compute\.max_hours 1\.0"):
        budget.spend(shard)


@pytest.mark.parametrize("caps", [{"max_bytes": 1000}, {"max_hours": 1e-9}])
def test_a_run_that_receipts_say_will_exceed_a_cap_is_not_started(one: Any, mine: Any, caps: dict[str, Any]) -> None:
    mine(one, canary=True)
    done = {blob.key for blob in one.lake.store.scan("activations")}
    with pytest.raises(EnvironmentFault, match=r"it was not started.*compute\.max_.*`neuroconcepts plan`"):
        mine(one, **caps)
    assert {blob.key for blob in one.lake.store.scan("activations")} == done


@pytest.mark.parametrize("rows", [1, 3, 5, 100])
def test_the_sizes_of_shards_follow_from_the_catalogs_facts(one: Any, rows: int) -> None:
    pixels = load_card(one.lake, one.have["classifier"]).pixels
    made = image_slips(Films(one.lake, one.have["catalog"]), "r", pixels, rows)
    assert shard_sizes([8, 4], pixels, rows) == [shard.size for shard in made]


PATCHED = validate(
    ActivationsConfig,
    CONFIG.model_dump() | {"taps": ["layer1:patches", "logits:patches"], "patches": {"size": 0.5, "stride": 1.0}},
)


def test_patches_are_a_pass_of_their_own_under_the_same_caps(one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(job, "map_shards", in_process(seen))

    def run(*, canary: bool = False, **caps: Any) -> None:
        seen.clear()
        compute = validate(ComputeConfig, {"cpus": 4, **caps})
        job.run(PATCHED, one.have, one.lake, compute, str(one.root), canary=canary)

    run(canary=True)
    assert seen == IDS[6:8] * 2
    whole, patched = found = work(PATCHED, one.have, one.lake)
    assert (whole.of.pixels.size, patched.of.pixels.size) == (32, 64)
    assert set(patched.of.plans) == {"activations.layer1:patches", "activations.logits:patches"}
    assert [len(at.todo) for at in found] == [4, 4]
    compute = ComputeConfig(cpus=4)
    told = [estimate(at, pace(sample(one.lake, at)), compute, 2, None) for at in found]
    assert [at.of for at in told] == ["images", "patches"]
    assert [at.receipts for at in told] == [2, 2]
    each = [sum(at.bytes.values()) for at in told]
    assert exceeded(told, ComputeConfig(max_bytes=sum(each))) == []
    assert exceeded(told, ComputeConfig(max_bytes=sum(each) - 1)) == ["max_bytes"]
    hours = sum(at.wall_hours or 0 for at in told)
    assert exceeded(told, ComputeConfig(max_hours=hours * 0.99)) == ["max_hours"]
    with pytest.raises(EnvironmentFault, match="it was not started"):
        run(max_bytes=max(each))
    assert seen == []
    run()
    assert sorted(seen) == sorted((IDS[:6] + IDS[8:]) * 2)
    assert [len(at.todo) for at in work(PATCHED, one.have, one.lake)] == [0, 0]


def test_what_the_first_pass_wrote_counts_in_the_second(one: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "map_shards", in_process([]))
    with pytest.raises(EnvironmentFault, match="written what it may"):
        job.run(PATCHED, one.have, one.lake, validate(ComputeConfig, {"max_bytes": 20_000}), str(one.root))
    whole, patched = work(PATCHED, one.have, one.lake)
    assert 0 == len(whole.todo) < len(patched.todo)
    assert whole.of.plans == {}, "what the first pass made is finished, whatever becomes of the second"
