"""An SAE brought along is checked, measured and committed like a fitted one; its digest is in the recipe."""

from pathlib import Path

import numpy as np
import pytest
import torch

from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import ConfigError, DigestError, InputError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.sae import job
from neuroconcepts_ray.sae.activation import JumpReLU, TopK
from neuroconcepts_ray.sae.bring import bring
from neuroconcepts_ray.sae.brought import DESCRIPTION, WEIGHTS
from neuroconcepts_ray.sae.config import SAEConfig, plan
from neuroconcepts_ray.sae.formats.folder import write_folder
from neuroconcepts_ray.sae.measure import measure
from neuroconcepts_ray.sae.model import SAE, load_sae, save_sae
from tests.neurons.test_job import D, archive


def some_sae(d: int = D, n: int = 20, theta: float | None = 0.5) -> SAE:
    made = torch.Generator().manual_seed(3)
    rows = torch.nn.functional.normalize(torch.randn(n, d, generator=made), dim=1)
    activation = TopK(3) if theta is None else JumpReLU(torch.full((n,), theta))
    return SAE(rows.clone(), torch.zeros(n), rows, torch.full((d,), 2.0), activation)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"), str(tmp_path / "phi"))


@pytest.fixture
def have(lake: Lake) -> dict[str, Manifest]:
    return archive(lake, [60, 40])


def put(folder: Path, sae: SAE, tap: str = "pre_logits") -> SAEConfig:
    write_folder(save_sae(sae, tap, "jumprelu"), folder)
    return SAEConfig(weights=str(folder))


def test_it_is_committed_as_it_is_and_measured_on_images_that_nothing_here_chose(
    lake: Lake, have: dict[str, Manifest], tmp_path: Path
) -> None:
    sae = some_sae()
    config = put(tmp_path / "sae", sae)
    made = job.run(config, have, lake, ComputeConfig())["sae"]
    assert made.artifact == plan(config, have)["sae"].artifact
    facts = {name: made.facts[name] for name in ("variant", "tap", "n", "d", "k")}
    assert facts == {"variant": "jumprelu", "tap": "pre_logits", "n": 20, "d": D, "k": None}
    assert made.facts["select"] == measure(lake, {**have, "sae": made}, "select")
    assert 0 < made.facts["select"]["l0"] < 20
    x = torch.from_numpy(np.random.default_rng(0).gamma(2, 1, (5, D)).astype(np.float32))
    assert torch.equal(load_sae(lake, made).encode_dense(x), sae.encode_dense(x))
    (tmp_path / "sae" / WEIGHTS).rename(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"there is no SAE.*sae\.weights"):
        plan(config, have)


def test_the_recipe_is_its_bytes_and_no_setting_of_a_training(have: dict[str, Manifest], tmp_path: Path) -> None:
    one = put(tmp_path / "one", some_sae())
    digest = plan(one, have)["sae"].recipe.digest
    assert plan(one.model_copy(update={"steps": 7, "seed": 9, "k": 3}), have)["sae"].recipe.digest == digest
    assert plan(put(tmp_path / "same", some_sae()), have)["sae"].recipe.digest == digest
    assert plan(put(tmp_path / "other", some_sae(theta=0.6)), have)["sae"].recipe.digest != digest
    few, more = some_sae(theta=None), some_sae(theta=None)
    more = SAE(more.W_enc, more.b_enc, more.W_dec, more.b_dec, TopK(4))
    digests = {
        plan(put(tmp_path / name, sae), have)["sae"].recipe.digest for name, sae in {"few": few, "m": more}.items()
    }
    assert len(digests) == 2  # the same tensors with another k
    assert "weights" not in plan(SAEConfig(), have)["sae"].recipe.config


def test_another_dimension_or_tap_is_refused_with_both(have: dict[str, Manifest], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"got d = 9; allowed: d = {D} \(pre_logits\)"):
        plan(put(tmp_path / "wide", some_sae(d=9)), have)
    with pytest.raises(ConfigError, match=r"sae\.tap is pre_logits, but .* reads layer4"):
        plan(put(tmp_path / "deep", some_sae(), tap="layer4"), have)


def test_what_changes_between_plan_and_commit_is_not_committed(
    lake: Lake, have: dict[str, Manifest], tmp_path: Path
) -> None:
    config = put(tmp_path / "sae", some_sae())
    planned = plan(config, have)["sae"]
    (tmp_path / "sae" / WEIGHTS).write_bytes(save_sae(some_sae(theta=0.7), "pre_logits", "jumprelu")[WEIGHTS])
    with pytest.raises(DigestError, match="altered"):
        bring(str(tmp_path / "sae"), planned, lake, lambda sae: job._measured(lake, have, "pre_logits", "select", sae))
    assert lake.find(planned) is None
    (tmp_path / "sae" / DESCRIPTION).write_text("{}")
    with pytest.raises(ConfigError, match="there is no SAE"):
        plan(config, have)


def test_a_k_of_more_latents_than_there_are_is_refused_before_anything_is_fitted(have: dict[str, Manifest]) -> None:
    assert plan(SAEConfig(expansion=1, k=D), have)
    assert plan(SAEConfig(expansion=1, k=D + 1, variant="gated"), have)  # has no k
    for fields in ({"k": D + 1}, {"k": D, "k_start": D + 1}):
        with pytest.raises(ConfigError, match="exceeds the number of latents"):
            plan(SAEConfig(expansion=1, **fields), have)


def test_a_description_that_holds_no_dimension_is_refused(have: dict[str, Manifest], tmp_path: Path) -> None:
    config = put(tmp_path / "sae", some_sae())
    for told in ('{"tap": "pre_logits", "d": Infinity}', "[" * 100_000):
        (tmp_path / "sae" / DESCRIPTION).write_text(told)
        with pytest.raises(ConfigError, match="there is no SAE"):
            plan(config, have)
