"""The stage's loop in this process: what cannot be fitted is named, and nothing is committed."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuroconcepts_ray.activations.tables import activations_table
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.distributed.profile import numeric_profile
from neuroconcepts_ray.distributed.train import State, World
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.table import to_parquet
from neuroconcepts_ray.sae import job
from neuroconcepts_ray.sae.config import SAEConfig, plan
from tests.sae.test_source import Case, D


def run_here(loop: Any, spec: dict[str, Any], *, resume: State | None = None, **_: object) -> State:
    states: list[State] = []
    loop(spec, World(0, 1), resume, lambda state, _: states.append(state))
    return states[-1]


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_what_cannot_be_fitted_is_named_and_nothing_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    case = Case(tmp_path)
    x = np.random.default_rng(0).gamma(2, 1, (50, D)).astype(np.float32)
    x[3, 2] = value
    mined = Plan(Recipe("activations", 1, {"tap": "changed"}), {})
    data = to_parquet(activations_table([f"i{number:02d}" for number in range(50)], x))
    part = case.lake.put_part(mined, "0.parquet", data, rows=50)
    changed = case.lake.commit_manifest(mined, "activations.layer3", [part], facts={"tap": "layer3", "d": D})
    have = {"catalog": case.catalog, "activations.layer3": changed}
    config = SAEConfig(tap="layer3", k=2, steps=3, threads=1, precision="float32")
    monkeypatch.setattr(job, "train", run_here)
    with pytest.raises(InputError, match=r"not finite .*activations\.layer3"):
        job.run(config, have, case.lake, ComputeConfig())
    assert case.lake.find(plan(config, have)["sae"]) is None
    assert not list((tmp_path / "lake").glob("sae/**/*"))


def test_a_checkpoint_of_an_older_version_is_not_gone_on_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for name, resume in (("old", State({}, {"step": 1, "profile": numeric_profile()})), ("none", None)):
        case = Case(tmp_path / name)
        have = {"catalog": case.catalog, "activations.layer3": case.activations}
        config = SAEConfig(tap="layer3", k=2, steps=3, threads=1, precision="float32")
        monkeypatch.setattr(job, "train", partial(run_here, resume=resume))
        contents.append(job.run(config, have, case.lake, ComputeConfig())["sae"].content)
    assert contents[0] == contents[1]
