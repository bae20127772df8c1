"""Caps, the canary and the estimate, with the stage's own job in this process instead of Ray's actors."""

from collections.abc import Callable
from typing import Any

import pytest

from neuroconcepts_ray.activations import job
from neuroconcepts_ray.activations.budget import Budget, sample
from neuroconcepts_ray.activations.config import ActivationsConfig, plan
from neuroconcepts_ray.activations.estimate import ahead, estimate
from neuroconcepts_ray.activations.pace import pace
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


def weight(one: Any) -> int:
    return sum(blob.bytes for blob in one.lake.store.scan("activations") if "/parts/" in blob.key)


def test_a_canary_is_mined_once_kept_and_says_what_the_rest_will_write(one: Any, mine: Any) -> None:
    before = ahead(CONFIG, one.have, one.lake)
    assert (before.images, before.shards, before.shards_to_do, before.canary_to_do) == (12, 5, 5, 1)
    compute = ComputeConfig(cpus=4)
    nothing = estimate(before, None, compute, 2, None)
    assert (nothing.receipts, nothing.bytes, nothing.wall_hours, nothing.bottleneck) == (0, {}, None, None)

    canary = mine(one, canary=True)
    assert canary == IDS[6:8]  # the middle one of five shards, the last of its partition
    assert mine(one, canary=True) == []
    found = ahead(CONFIG, one.have, one.lake)
    assert (found.shards_to_do, found.images_to_do, found.canary_to_do) == (4, 10, 0)
    told = estimate(found, pace(sample(one.lake, found.plans, found.done)), compute, 2, None)
    assert (told.receipts, told.shards_done, told.images_to_do) == (3, 1, 10)
    assert told.bottleneck in {"read", "decode", "infer", "write"}
    first = weight(one)

    rest = mine(one)
    assert sorted(canary + rest) == IDS
    assert sum(told.bytes.values()) == pytest.approx(weight(one) - first, rel=0.5)  # footers weigh more than two rows
    assert ahead(CONFIG, one.have, one.lake).plans == {}


def test_a_cap_on_bytes_stops_after_the_shard_that_reaches_it_and_what_is_done_counts(one: Any, mine: Any) -> None:
    with pytest.raises(EnvironmentFault, match=r"written what it may.*compute\.max_bytes 1\)") as error:
        mine(one, max_bytes=1)
    assert error.value.exit_code == 4
    assert "finished shards are kept" in str(error.value)
    assert ahead(CONFIG, one.have, one.lake).shards_to_do == 4
    assert mine(one) == IDS[3:]


def test_bytes_that_an_earlier_run_wrote_do_not_count(one: Any, mine: Any) -> None:
    with pytest.raises(EnvironmentFault):
        mine(one, max_bytes=1)
    mine(one, max_bytes=50 * weight(one))


def test_a_cap_on_hours_is_looked_at_after_every_shard(one: Any) -> None:
    now = iter([0.0, 1800.0, 3600.0])
    films, plans = Films(one.lake, one.have["catalog"]), plan(CONFIG, one.have)
    pixels = load_card(one.lake, one.have["classifier"]).pixels
    shards = {name: image_slips(films, mine.recipe.digest, pixels, 3) for name, mine in plans.items()}
    none: dict[str, set[str]] = {name: set() for name in plans}
    budget = Budget(one.lake, plans, shards, none, ComputeConfig(max_hours=1.0), lambda: next(now))
    shard = next(iter(shards.values()))[0].key
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
