"""Pins what we need of Ray without a stable name: a new Ray that changes it fails here, not in a night's run."""

import inspect
import warnings

import ray
import ray.data
from ray.data._internal.execution.operators.actor_pool_map_operator import ActorPoolMapOperator
from ray.data._internal.remote_fn import cached_remote_fn
from ray.train.v2._internal import constants

from neuroconcepts_ray.distributed.compat import alone, remote_args_accepted, tolerate_deaths


def test_map_batches_still_takes_bounds_through_remote_args() -> None:
    parameters = inspect.signature(ray.data.Dataset.map_batches).parameters
    assert parameters["ray_remote_args"].kind is inspect.Parameter.VAR_KEYWORD


def test_ray_itself_would_try_a_block_that_kills_for_ever_but_keeps_given_bounds() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Ray's own: its context deprecates its own fields
        context = ray.data.DataContext()
    free = ActorPoolMapOperator._apply_default_remote_args({}, context)
    bound = ActorPoolMapOperator._apply_default_remote_args(alone(actor=True), context)
    assert (free["max_restarts"], free["max_task_retries"]) == (-1, -1)
    assert (bound["max_restarts"], bound["max_task_retries"]) == (-1, 0)


def test_a_load_task_is_not_tried_again_by_itself() -> None:
    def nothing() -> None:
        """Dies."""

    kept = cached_remote_fn(nothing, **alone(actor=False))
    assert (kept._max_retries, cached_remote_fn(nothing)._max_retries) == (0, -1)


def test_deaths_that_are_tolerated_are_rays_errored_blocks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with ray.data.DataContext.current(ray.data.DataContext()):
            assert ray.data.DataContext.get_current().max_errored_blocks == 0
            tolerate_deaths(7)
            assert ray.data.DataContext.get_current().max_errored_blocks == 7


def test_only_the_deprecation_of_remote_args_is_silenced() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with remote_args_accepted():
            warnings.warn("`ray_remote_args` is deprecated", DeprecationWarning, stacklevel=1)
            warnings.warn("something else", DeprecationWarning, stacklevel=1)
    assert [str(w.message) for w in seen] == ["something else"]


def test_the_variables_that_shorten_a_training_are_still_rays() -> None:
    assert constants.HEALTH_CHECK_INTERVAL_S_ENV_VAR == "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"
    assert constants.ENABLE_PREEMPTION_WATCHER_ENV_VAR == "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"
    assert constants.get_env_vars_to_propagate()["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] == "0"
