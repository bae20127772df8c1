import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch

from neuroconcepts_ray.classifier.augment import augment, generator
from neuroconcepts_ray.classifier.config import AugmentConfig, ClassifierConfig
from neuroconcepts_ray.classifier.model import build
from neuroconcepts_ray.classifier.train import Films, fit, gather_json, learning_rate, score_only
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.train import State, World
from neuroconcepts_ray.errors import ConfigError, InputError

ALONE = World(0, 1)
CPU = torch.device("cpu")
Configured = Callable[..., ClassifierConfig]


class Saves(list[State]):
    """Takes a copy of each state, as writing it to disk would."""

    def __call__(self, state: State, metrics: dict[str, float]) -> None:
        assert all(isinstance(value, float) for value in metrics.values())
        self.append(State({k: v.detach().contiguous().clone() for k, v in state.tensors.items()}, dict(state.meta)))


def train(config: ClassifierConfig, films: Films, resume: State | None = None) -> Saves:
    torch.set_num_threads(1)
    saves = Saves()
    fit(build(config, ["left", "top"], "multilabel"), films, config, ALONE, resume, saves, {"note": 1})
    return saves


def same(one: State, other: State) -> bool:
    return one.meta == other.meta and {k: v.numpy().tobytes() for k, v in one.tensors.items()} == {
        k: v.numpy().tobytes() for k, v in other.tensors.items()
    }


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(configured: Configured, films: Films) -> None:
    config = configured(
        backbone_kwargs={"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 16], "drop_rate": 0.2}, epochs=3
    )
    whole = train(config, films)
    assert len(whole) == 3
    for stop in (0, 1):
        assert same(train(config, films, whole[stop])[-1], whole[-1])


def test_training_finds_what_is_planted_and_keeps_the_best_epoch(configured: Configured, films: Films) -> None:
    state = train(configured(epochs=8), films)[-1]
    figures = [one["select_macro_auroc"] for one in state.meta["history"]]
    assert max(figures) > 0.9
    assert state.meta["best"] == max(figures)
    assert state.meta["best_epoch"] == 1 + figures.index(max(figures))
    model = build(configured(), ["left", "top"], "multilabel")
    model.load_timm_state({k.removeprefix("best.model."): v for k, v in state.tensors.items() if "best.model" in k})
    saves = Saves()
    score_only(model.to(memory_format=torch.channels_last), films, ALONE, saves, {})
    assert torch.equal(saves[0].tensors["best.logits"], state.tensors["best.logits"])


def test_training_ends_when_patience_runs_out(configured: Configured, films: Films) -> None:
    state = train(configured(epochs=50, patience=1, lr=1e-9), films)[-1]
    assert state.meta["done"]
    assert state.meta["epoch"] == state.meta["best_epoch"] + 1 < 50


def test_without_films_to_choose_by_the_last_epoch_counts(configured: Configured, films: Films) -> None:
    blind = replace(films, select_x=films.select_x[:0], select_at=films.select_at[:0], select_y=films.select_y[:0])
    state = train(configured(epochs=3, patience=1), blind)[-1]
    assert state.meta["best_epoch"] == state.meta["epoch"] == 3


def test_where_no_label_is_evaluable_the_loss_decides(configured: Configured, films: Films) -> None:
    few = replace(films, select_x=films.select_x[:10], select_at=films.select_at[:10], select_y=films.select_y[:10])
    state = train(configured(epochs=2), few)[-1]
    losses = [one["select_loss"] for one in state.meta["history"]]
    assert state.meta["best"] == -min(losses)


def test_nothing_to_train_on_is_an_error_of_the_input(configured: Configured, films: Films) -> None:
    with pytest.raises(InputError, match="no film of role fit"):
        train(configured(), replace(films, fit_x=films.fit_x[:0], fit_y=films.fit_y[:0], least=0))


def test_a_loss_that_is_not_finite_names_the_learning_rate(configured: Configured, films: Films) -> None:
    with pytest.raises(ConfigError, match=r"classifier\.lr"):
        train(configured(lr=1e30, warmup=0.0), films)


def test_fewer_films_than_a_batch_are_one_batch(configured: Configured, films: Films) -> None:
    few = replace(films, fit_x=films.fit_x[:5], fit_y=films.fit_y[:5], least=5)
    assert train(configured(epochs=1), few)[-1].meta["epoch"] == 1


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine(configured: Configured) -> None:
    config = configured(lr=2.0, warmup=0.1)
    rates = [learning_rate(step, 100, config) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[55] == pytest.approx(1.0)
    assert rates[99] == pytest.approx(1 + math.cos(math.pi * 89 / 90))


def test_no_augmentation_leaves_films_as_they_are() -> None:
    off = AugmentConfig(shift=0, rotate=0, scale=0, contrast=0, brightness=0)
    x = torch.rand(3, 1, 16, 16, generator=generator(0))
    torch.testing.assert_close(augment(x, off, generator(1)), x)


def test_a_flip_mirrors_left_and_right_only_and_only_some_films() -> None:
    flip = validate(AugmentConfig, {"flip": True, "shift": 0, "rotate": 0, "scale": 0, "contrast": 0, "brightness": 0})
    x = torch.rand(32, 1, 16, 16, generator=generator(0))
    changed = augment(x, flip, generator(1))
    mirrored = torch.isclose(changed, x.flip(3), atol=1e-5).flatten(1).all(1)
    as_was = torch.isclose(changed, x, atol=1e-5).flatten(1).all(1)
    assert (mirrored ^ as_was).all()
    assert 5 < int(mirrored.sum()) < 27


def test_augmentation_depends_on_its_generator_alone_and_stays_between_black_and_white() -> None:
    x = torch.rand(4, 1, 16, 16, generator=generator(0))
    strong = AugmentConfig(shift=0.2, rotate=30, scale=0.2, contrast=0.5, brightness=0.5)
    one, other = augment(x, strong, generator(7, 1)), augment(x, strong, generator(7, 1))
    assert torch.equal(one, other)
    assert not torch.equal(one, augment(x, strong, generator(7, 2)))
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1


class Ranks:
    """Two threads as ranks: torch.distributed's sums and gathers, without its processes."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2, timeout=60)
        self.me = threading.local()
        self.slots: list[torch.Tensor] = [torch.empty(0)] * 2

    def all_gather(self, into: list[torch.Tensor], tensor: torch.Tensor) -> None:
        self.slots[self.me.rank] = tensor.clone()
        self.barrier.wait()
        for place, value in zip(into, self.slots, strict=True):
            place.copy_(value)
        self.barrier.wait()

    def all_reduce(self, tensor: torch.Tensor) -> None:
        both = [torch.empty_like(tensor), torch.empty_like(tensor)]
        self.all_gather(both, tensor)
        tensor.copy_(both[0] + both[1])

    def run(self, one: Callable[[World], Any]) -> list[Any]:
        def start(rank: int) -> Any:
            self.me.rank = rank
            return one(World(rank, 2))

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(start, range(2)))


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Ranks:
    found = Ranks()
    monkeypatch.setattr("neuroconcepts_ray.classifier.train.dist", found)
    return found


def test_two_ranks_agree_and_take_the_step_that_one_rank_takes_with_all_films(
    configured: Configured, films: Films, ranks: Ranks
) -> None:
    small = {"depth": 1, "embed_dim": 24, "num_heads": 2, "patch_size": 8}
    still = {"shift": 0, "rotate": 0, "scale": 0, "contrast": 0, "brightness": 0}
    # Layer norm knows no batch, and one step takes all films, so that the two must agree but for rounding.
    options = {"backbone": "vit_tiny_patch16_224", "backbone_kwargs": small, "augment": still, "lr": 1e-3}
    config = configured(**options, batch_size=96, epochs=2, warmup=0.0)
    alone = train(config, films)[-1]
    models = [build(config, ["left", "top"], "multilabel") for _ in range(2)]

    def one(world: World) -> State:
        mine = slice(world.rank, None, 2)
        own = replace(
            films,
            fit_x=films.fit_x[mine],
            fit_y=films.fit_y[mine],
            least=len(films.fit_x) // 2,
            select_x=films.select_x[mine],
            select_at=films.select_at[mine],
        )
        saves = Saves()
        fit(models[world.rank], own, config, world, None, saves, {})
        return saves[-1]

    first, second = ranks.run(one)
    assert same(first, second)
    for name, value in alone.tensors.items():
        torch.testing.assert_close(first.tensors[name], value, rtol=1e-3, atol=2e-5, msg=name)


def test_ranks_tell_each_other_plain_data_of_any_length(ranks: Ranks) -> None:
    found = ranks.run(lambda world: gather_json({"rank": world.rank, "bad": ["x"] * world.rank}, world, CPU))
    assert found == [[{"rank": 0, "bad": []}, {"rank": 1, "bad": ["x"]}]] * 2
