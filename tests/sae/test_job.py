"""The stage without a cluster: who trains, resumption, and members of a sweep against the same ones alone."""

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.train import State, World
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.neurons.config import DEFAULT_SPACES
from neuroconcepts_ray.neurons.config import plan as spaces_plan
from neuroconcepts_ray.sae import job
from neuroconcepts_ray.sae.config import SAEConfig, plan
from neuroconcepts_ray.sae.measure import measure
from neuroconcepts_ray.sae.sweep import name, streams
from tests.neurons.test_job import archive, images


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), str(tmp_path / "phi"))


@pytest.fixture
def other(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "other"), str(tmp_path / "phi2"))


def keep(states: list[State]) -> Any:
    return lambda state, _: states.append(State({k: v.clone() for k, v in state.tensors.items()}, state.meta))


class Trainer:
    """Stands for Ray Train: runs the loop here, from a checkpoint where one was left."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []
        self.specs: list[dict[str, Any]] = []
        self.left: dict[str, State] = {}

    def train(self, loop: Any, spec: dict[str, Any], *, name: str, **_: object) -> State:
        self.calls.append((name, spec["wanted"]))
        self.specs.append(spec)
        states: list[State] = []
        loop(spec, World(0, 1), copy.deepcopy(self.left.get(name)), keep(states))
        self.left[name] = states[-1]
        return states[-1]

    def shared(self, loop: Any, spec: dict[str, Any], *, name: str, workers: int, sharded: bool, **_: object) -> Any:
        """Ranks one after another, for members need nothing of each other."""
        assert sharded
        self.calls.append((name, spec["wanted"]))
        ranks: list[State] = []
        for rank in range(workers):
            states: list[State] = []
            loop(spec, World(rank, workers), copy.deepcopy(self.left.get(f"{name}/{rank}")), keep(states))
            assert [state.meta["step"] for state in states][-1] == 6
            ranks.append(states[-1])
        return ranks

    def forget(self, _: str, name: str) -> None:
        self.left.pop(name, None)


@contextmanager
def trainer() -> Iterator[Trainer]:
    made = Trainer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "train", made.train)
        patch.setattr(job, "forget", made.forget)
        yield made


SMALL = {"k": 2, "steps": 6, "batch_size": 16, "checkpoint_every": 2, "threads": 1, "precision": "float32"}


def config(**fields: object) -> SAEConfig:
    return SAEConfig(**{**SMALL, **fields})


def test_fit_and_probe_alone_are_seen_and_the_loop_resumes_bitwise(lake: Lake) -> None:
    have = archive(lake, [60, 40])
    with trainer() as made:
        have |= job.run(config(), have, lake, ComputeConfig())
    (spec,) = made.specs
    whole: list[State] = []
    job.loop(spec, World(0, 1), None, keep(whole))
    assert [state.meta["step"] for state in whole] == [2, 4, 6]
    resumed: list[State] = []
    job.loop(spec, World(0, 1), copy.deepcopy(whole[0]), keep(resumed))
    assert resumed[-1].tensors.keys() == whole[-1].tensors.keys()
    assert all(torch.equal(resumed[-1].tensors[key], tensor) for key, tensor in whole[-1].tensors.items())
    assert resumed[-1].meta == whole[-1].meta
    x = np.concatenate([images(0, 60)[2], images(1, 40)[2]])
    mask = np.array([role in ("fit", "probe") for role in images(0, 60)[1] + images(1, 40)[1]])
    mean = whole[-1].tensors[f"{have['sae'].artifact}.mean"]
    np.testing.assert_allclose(mean.numpy(), x[mask].mean(axis=0), rtol=1e-5)

    history = json.loads(lake.read(have["sae"].part("history.json")))
    assert history["steps"] == [1, 2, 3, 4, 5, 6]
    assert measure(lake, have, "test")["images"] == 20
    with pytest.raises(InputError, match="not held out"):
        measure(lake, have, "probe")
    with pytest.raises(InputError, match="no image has any"):
        measure(lake, have, "nobody")
    assert set(spaces_plan(DEFAULT_SPACES, have)) == {"codes.latents", "codes.units"}


def alone(lake: Lake, have: dict[str, Manifest], configs: list[SAEConfig]) -> list[str]:
    with trainer():
        return [job.run(one, have, lake, ComputeConfig())["sae"].content for one in configs]


def test_each_member_of_a_sweep_is_the_artifact_that_it_would_be_alone(lake: Lake, other: Lake) -> None:
    members = [
        config(),
        config(k=3, expansion=4),
        config(seed=1, variant="batchtopk"),
        config(variant="gated"),
        config(data_seed=1),
    ]
    have = archive(lake, [60, 40])
    with trainer() as made:
        swept = job.sweep([*members, members[0]], have, lake, ComputeConfig())
        assert [len(wanted) for _, wanted in made.calls] == [4, 1]
        again = job.sweep(members, have, lake, ComputeConfig())
        assert len(made.calls) == 2
        assert not made.left
    assert [one.content for one in again] == [one.content for one in swept[:-1]]
    assert swept[-1] == swept[0]
    assert alone(other, archive(other, [60, 40]), members) == [one.content for one in again]


def test_a_sweep_killed_between_two_commits_goes_on_without_training_again(lake: Lake, other: Lake) -> None:
    members, have = [config(), config(seed=1)], archive(lake, [60])
    with trainer() as made, pytest.MonkeyPatch.context() as patch:
        commit = job._commit

        def dies(state: State, one: SAEConfig, *rest: Any) -> Manifest:
            if one.seed:
                raise KeyboardInterrupt
            return commit(state, one, *rest)

        patch.setattr(job, "_commit", dies)
        with pytest.raises(KeyboardInterrupt):
            job.sweep(members, have, lake, ComputeConfig())
        patch.setattr(job, "_commit", commit)
        assert list(made.left)
        finished = copy.deepcopy(made.left)
        swept = job.sweep(members, have, lake, ComputeConfig())
        first, second = made.calls
        assert first[0] == second[0] == next(iter(finished))
        assert [len(first[1]), len(second[1])] == [2, 1]
    assert alone(other, archive(other, [60]), members) == [one.content for one in swept]


def test_a_finished_member_that_was_removed_is_trained_anew(lake: Lake) -> None:
    members, have = [config(), config(seed=1)], archive(lake, [60])
    with trainer() as made:
        one = job.run(members[0], have, lake, ComputeConfig())["sae"]
        job.sweep(members, have, lake, ComputeConfig())
        assert [len(wanted) for _, wanted in made.calls] == [1, 1]
    assert lake.find(plan(members[0], have)["sae"]) == one


def test_members_shared_among_workers_are_the_same_artifacts(lake: Lake, other: Lake) -> None:
    members, have = [config(seed=seed) for seed in range(3)], archive(lake, [60])
    with trainer() as made, pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "train", made.train)
        job.run(members[1], have, lake, ComputeConfig())  # the whole share of the second worker
        patch.setattr(job, "train", made.shared)
        swept = job.sweep(members, have, lake, ComputeConfig(), workers=2)
        assert [len(wanted) for _, wanted in made.calls] == [1, 2]
    assert alone(other, archive(other, [60]), members) == [one.content for one in swept]


def test_epochs_become_steps_once_the_rows_are_counted(lake: Lake) -> None:
    have = archive(lake, [60, 40])
    with trainer() as made:
        job.run(config(epochs=5.0), have, lake, ComputeConfig())
    states: list[State] = []
    job.loop(made.specs[0], World(0, 1), None, keep(states))
    assert states[-1].meta["step"] == round(5 * 40 / 16)


def test_members_share_a_stream_where_they_see_the_same_rows_and_data_parallel_ones_train_alone() -> None:
    configs = [config(), config(k=3), config(steps=7), config(workers=2), config(workers=2), config(seed=5)]
    assert streams(configs) == [[0, 1, 5], [2], [3], [4]]
    assert name(["one"]) == "one"
    assert name(["one", "two"]) != name(["two", "one"])
