"""What one pass keeps of a tap, against hooks and sums by hand."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load as torch_load
from torch import nn

from neuroconcepts_ray.activations import compiled, job
from neuroconcepts_ray.activations.config import ActivationsConfig, check_vectors, plan
from neuroconcepts_ray.activations.extract import check_finite
from neuroconcepts_ray.activations.keep import Positions
from neuroconcepts_ray.activations.tables import kept_table, some_rows
from neuroconcepts_ray.activations.taps import Tap, sample
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.model import Classifier, build, load_classifier
from neuroconcepts_ray.classifier.outputs import grid
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.distributed.config import ComputeConfig
from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, InputError
from neuroconcepts_ray.imaging.load import load_pixels
from neuroconcepts_ray.lake import table as tables
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.table import Gathering, group_rows, tensor_rows, to_parquet
from neuroconcepts_ray.sae.activation import TopK
from neuroconcepts_ray.sae.fused import fused
from neuroconcepts_ray.sae.model import SAE, save_sae
from neuroconcepts_ray.stages import stage
from tests.inprocess import in_process

IDS = [f"i{number:02}" for number in range(6)]
EVERY = ["layer2", "layer2:max", "layer2:positions", "layer2:grid", "layer2:codes"]
SETTINGS = {"batch_size": 4, "shard_rows": 4, "dtype": "float32", "threads": 1, "positions": 3, "seed": 7, "top": 5}


@pytest.fixture
def mined(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Manifest]]:
    """Runs the stage in this process, without Ray."""

    def mine(one: Any, **config: Any) -> dict[str, Manifest]:
        monkeypatch.setattr(job, "map_shards", in_process([]))
        raw = validate(ActivationsConfig, SETTINGS | config)
        compute = ComputeConfig(max_bad_fraction=0.5)
        return job.run(raw, one.have, one.lake, compute, str(one.root), **stage("mine").lent)

    return mine


def fit(one: Any, tap: str = "layer2", d: int = 8, n: int = 12, of: str = "") -> str:
    """Commit an SAE with random weights, as fitted to activations of a classifier of that content; its content."""
    draw = torch.Generator().manual_seed(1)
    w_enc, w_dec = (torch.randn(n, d, generator=draw) for _ in range(2))
    sae = SAE(w_enc, torch.randn(n, generator=draw), w_dec, torch.randn(d, generator=draw), TopK(3))
    inputs = {}
    if of:
        read = Plan(Recipe("activations", 0, {"tap": tap}), {"classifier": of})
        inputs[f"activations.{tap}"] = one.lake.commit_manifest(
            read, f"activations.{tap}", [], facts={"of": of}
        ).content
    mine = Plan(Recipe("sae", 1, {"tap": tap}), inputs)
    parts = [one.lake.put_part(mine, name, data) for name, data in save_sae(sae, tap, "topk").items()]
    return str(one.lake.commit_manifest(mine, "sae", parts, facts={"tap": tap, "n": n, "d": d}).content)


def by_hand(one: Any, ids: Sequence[str]) -> np.ndarray:
    """Outputs [n, d, h, w] of layer2, by a hook of this test's own."""
    model = load_classifier(one.lake, one.have["classifier"])
    films = [load_pixels((one.root / f"{image_id}.png").read_bytes(), model.card.pixels) for image_id in ids]
    found = []
    model.backbone.get_submodule("layer2").register_forward_hook(lambda _m, _x, y: found.append(y.clone()))
    with torch.inference_mode():
        model.backbone(model.normalise(torch.from_numpy(np.stack(films)).float() / 255))
    return found[0].numpy()


def rows(one: Any, manifest: Manifest) -> pa.Table:
    return pa.concat_tables([one.lake.table(part) for part in manifest.parts])


def test_one_pass_keeps_vectors_positions_grids_and_codes_as_computed_by_hand(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS])
    made = mined(one, taps=EVERY, sae=fit(one), grid_budget=6 * 4 * 4 * 8 * 4, stored="float32")
    maps = by_hand(one, IDS)  # [6, 8, 4, 4]
    cells = maps.reshape(6, 8, 16).transpose(0, 2, 1)
    kept = {tap: rows(one, made[f"activations.{tap}"]) for tap in EVERY}
    assert all(table["image_id"].to_pylist() == IDS for table in kept.values())
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(tensor_rows(kept["layer2"]["activation"]), maps.mean((2, 3)), **close)
    np.testing.assert_allclose(tensor_rows(kept["layer2:max"]["activation"]), maps.max((2, 3)), **close)
    np.testing.assert_allclose(tensor_rows(kept["layer2:grid"]["activation"]), maps.transpose(0, 2, 3, 1), **close)

    chosen = tensor_rows(kept["layer2:positions"]["position"])
    assert chosen.shape == (6, 3)
    expected = np.stack([cells[row, chosen[row].astype(int)] for row in range(6)])
    np.testing.assert_allclose(tensor_rows(kept["layer2:positions"]["activation"]), expected, **close)

    found = job.find_sae(one.lake, fit(one))
    w = {name: t.numpy() for name, t in torch_load(one.lake.read(found.part("weights.safetensors"))).items()}
    pre = (cells - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]  # [6, 16, 12]
    z = np.where(pre >= np.sort(pre, axis=2)[:, :, -3:-2], np.maximum(pre, 0), 0)
    for row, code in enumerate(kept["layer2:codes"].to_pylist()):
        largest = z[row].max(axis=0)
        top = sorted(np.argsort(-largest, kind="stable")[:5])
        top = [neuron for neuron in top if largest[neuron] > 0]
        assert code["neurons"] == top
        np.testing.assert_allclose(code["values"], largest[top], **close)
        assert code["places"] == z[row].argmax(axis=0)[top].tolist()

    shared = {"keep": "grid", "tap": "layer2:grid", "d": 8, "grid": [4, 4], "shape": [4, 4, 8], "dtype": "float"}
    assert made["activations.layer2:grid"].facts == shared
    assert made["activations.layer2:positions"].facts | {"shape": [3, 8]} == made["activations.layer2:positions"].facts
    codes = made["activations.layer2:codes"].facts
    assert codes == {"keep": "codes", "tap": "layer2:codes", "n": 12, "grid": [4, 4]}
    with pytest.raises(ConfigError, match="layer2:mean"):
        check_vectors(made["activations.layer2:grid"], "sae.tap")


def test_a_neighbour_that_does_not_load_changes_no_bytes_and_rows_can_be_taken_out(world: Any, mined: Any) -> None:
    whole, damaged = world("whole"), world("damaged")
    damaged.write(IDS[2], b"\x89PNG\r\n\x1a\nno more")
    found = []
    for one in (whole, damaged):
        one.catalogue([IDS])
        made = mined(one, taps=EVERY, sae=fit(one), grid_budget=10**6)
        found.append({tap: one.lake.table(made[f"activations.{tap}"].parts[0]) for tap in EVERY})
    for tap in EVERY:
        assert to_parquet(some_rows(found[0][tap], [0, 1, 3])) == to_parquet(some_rows(found[1][tap], [0, 1, 2]))
    first = damaged.lake.read(made["activations.layer2:codes"].parts[0])
    assert to_parquet(some_rows(found[0]["layer2:codes"], [0, 1, 3])) == first


def test_the_sample_depends_on_seed_and_image_alone_and_is_fair() -> None:
    assert sample(0, "a", 9, 4).tolist() == sample(0, "a", 9, 4).tolist()
    assert sample(0, "a", 100, 50).tolist() != sample(1, "a", 100, 50).tolist()
    assert sample(0, "a", 100, 50).tolist() != sample(0, "b", 100, 50).tolist()
    assert sample(3, "x", 5, 5).tolist() == [0, 1, 2, 3, 4]
    counts = np.bincount(np.concatenate([sample(0, f"i{n}", 16, 4) for n in range(2000)]), minlength=16)
    # Each position is drawn by 2000 × 4/16 images; the variance of a draw is p(1 − p).
    assert np.abs(counts - 500).max() < 4.5 * np.sqrt(2000 * 0.25 * 0.75)


def tiny_vit(**kwargs: Any) -> Classifier:
    raw = {"backbone": "vit_tiny_patch16_224", "pixels": {"size": 32}}
    raw["backbone_kwargs"] = {"depth": 2, "embed_dim": 24, "num_heads": 2, **kwargs}
    return build(validate(ClassifierConfig, raw), ["a"], "multilabel").eval()


def test_patch_tokens_are_the_grid_and_class_and_register_tokens_are_not() -> None:
    tokens = torch.arange(2 * 7 * 3, dtype=torch.float32).reshape(2, 7, 3)
    found = grid(tokens, "t", prefix=3)
    assert found.shape == (2, 2, 2, 3)
    assert torch.equal(found[:, 1, 0], tokens[:, 3 + 2])
    model = tiny_vit(reg_tokens=2)
    assert model.prefix == 3
    seen: dict[str, torch.Tensor] = {}
    x = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        model.forward_hooked(x, {"blocks.1": lambda output: seen.update(tokens=output)})
        most = model.forward_taps(x, ["blocks.1"], tokens="max")["blocks.1"]
        first = model.forward_taps(x, ["blocks.1"], tokens="class")["blocks.1"]
    assert torch.equal(most, seen["tokens"][:, 3:].amax(1))
    assert torch.equal(first, seen["tokens"][:, 0])
    assert grid(seen["tokens"], "t", model.prefix).shape == (2, 2, 2, 24)


def test_maps_with_channels_last_are_grids_as_they_are() -> None:
    x = torch.rand(2, 3, 3, 5)
    assert torch.equal(grid(x, "t", 0), x)
    assert torch.equal(grid(x.permute(0, 3, 1, 2), "t", 0), x)


@pytest.mark.parametrize(
    ("taps", "more", "said"),
    [
        (["layer2:sum"], {}, "no such way"),
        (["logits:grid"], {"grid_budget": 1}, "one vector already"),
        (["layer2", "layer2:mean"], {}, "are the same"),
        (["layer2:max", "layer2:max"], {}, "twice"),
        (["layer2:grid"], {}, "needs grid_budget"),
        (["layer2:codes"], {}, "needs sae"),
        (["a b:mean"], {}, "not a module name"),
    ],
)
def test_entries_that_cannot_be_are_refused_in_the_config(taps: list[str], more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(ActivationsConfig, {"taps": taps, **more})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"taps": ["layer2:class"]}, "no class token"),
        ({"taps": ["layer2:positions"], "positions": 17}, "fewer positions.*4×4 = 16"),
        ({"taps": ["layer2:grid"], "grid_budget": 6 * 4 * 4 * 8 * 2 - 1}, "1536 bytes; allowed: 1535 bytes"),
        ({"taps": ["global_pool:grid"], "grid_budget": 1}, "must give maps"),
        ({"taps": ["layer2:codes"], "sae": "0" * 32}, "no such SAE"),
    ],
)
def test_what_the_network_cannot_give_is_refused_before_the_first_shard(
    world: Any, mined: Any, config: dict[str, Any], said: str
) -> None:
    one = world("one")
    one.catalogue([IDS])
    with pytest.raises(ConfigError, match=said):
        mined(one, **config)
    assert not list(one.lake.store.list("activations"))


def test_an_sae_of_another_tap_is_refused_and_the_heads_is_not(world: Any, mined: Any) -> None:
    one = world("one")
    one.catalogue([IDS])
    with pytest.raises(ConfigError, match="reads another tap"):
        mined(one, taps=["layer1:codes"], sae=fit(one, "layer2"))
    with pytest.raises(ConfigError, match="vectors of another length"):
        mined(one, taps=["layer2:codes"], sae=fit(one, "pre_logits", d=16))
    with pytest.raises(ConfigError, match="another classifier"):
        mined(one, taps=["layer4:codes"], sae=fit(one, "pre_logits", d=16, n=13, of="another"))
    made = mined(one, taps=["layer4:codes"], sae=fit(one, "pre_logits", d=16))
    assert made["activations.layer4:codes"].facts["n"] == 12


def test_a_value_too_large_for_float16_names_the_tap_and_the_remedy() -> None:
    keep = Positions(Tap.parse("t:positions"), 0, 1, 0, "float16")
    found = keep(torch.full((1, 2, 1, 1), 70_000.0), ["a"])
    with pytest.raises(InputError, match=r"tap t:positions, image a.*stored=float32"):
        check_finite("t:positions", ["a"], found["activation"], half=True)


def test_recipes_hold_what_decides_a_tap_and_nothing_else(world: Any) -> None:
    have = world("one").have
    have["catalog"] = have["classifier"]
    entries = ["layer1", "layer1:max", "layer1:positions", "layer1:grid", "layer1:codes"]

    def digests(**config: Any) -> dict[str, str]:
        raw = {"taps": entries, "dtype": "float32", "grid_budget": 1, "sae": "0" * 32, **config}
        plans = plan(validate(ActivationsConfig, raw), have)
        return {name.removeprefix("activations."): one.recipe.digest for name, one in plans.items()}

    base = digests()
    assert len(set(base.values())) == len(entries) + 2

    def changed(**config: Any) -> set[str]:
        return {name for name, digest in digests(**config).items() if digest != base[name]}

    assert changed(positions=4) == changed(seed=1) == {"layer1:positions"}
    assert changed(stored="float32") == {"layer1:positions", "layer1:grid"}
    assert changed(sae="1" * 32) == changed(top=3) == {"layer1:codes"}
    assert changed(reduction="max") == {"layer1"}
    assert changed(grid_budget=2) == set()
    assert changed(compile=True) == set(base)
    graphs = [digests(compile=True, taps=taps) for taps in (["layer1"], ["layer1", "layer2"])]
    assert graphs[0]["logits"] != graphs[1]["logits"]  # another graph, which rounds otherwise


def test_a_position_that_is_not_finite_is_told_by_its_codes() -> None:
    x = torch.ones(4, 8)
    x[2, 3] = torch.inf
    sae = SAE(torch.ones(5, 8), torch.zeros(5), torch.ones(5, 8), torch.zeros(8), TopK(2))
    assert np.isnan(fused(sae, x, 3)[1]).all()


def test_a_table_written_in_pieces_has_the_bytes_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_GROUP_BYTES", 1 << 16)
    x = np.random.default_rng(0).normal(size=(40, 4, 4, 64)).astype(np.float16)
    table = kept_table([f"i{n}" for n in range(40)], {"activation": x}, {"h": 4, "w": 4})
    assert group_rows(table.schema) == 32  # of 2 KiB each
    gathering = Gathering(table.schema)
    for start in range(0, 40, 7):
        gathering.add(table.slice(start, 7))
    data = gathering.finish()
    assert data == to_parquet(table)
    assert [pq.ParquetFile(io.BytesIO(data)).metadata.row_group(n).num_rows for n in range(2)] == [32, 8]
    empty = Gathering(table.schema)
    assert empty.finish() == to_parquet(table.slice(0, 0))


def test_a_compiled_pass_keeps_the_same_up_to_rounding(world: Any, mined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world("one")
    one.catalogue([IDS])
    plain = mined(one, taps=["layer2:grid"], grid_budget=10**6, stored="float32")
    seen: list[tuple[int, ...]] = []

    def traced(graph: torch.fx.GraphModule, given: list[torch.Tensor]) -> Any:
        seen.append(tuple(given[-1].shape))
        return graph.forward

    # The graph is captured as for the compiler, which itself takes too long for a test.
    monkeypatch.setattr(compiled.torch, "compile", lambda f, **how: COMPILE(f, backend=traced, fullgraph=True, **how))
    made = mined(one, taps=["layer2:grid"], grid_budget=10**6, stored="float32", compile=True)
    assert len(seen) == 1  # of one size, although the batches are of 4, 4 … and 2
    for name in plain:
        a, b = (tensor_rows(rows(one, which[name])["activation"]) for which in (plain, made))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert plain[name].recipe != made[name].recipe


COMPILE = torch.compile


def test_without_a_compiler_it_is_said(world: Any, mined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = world("one")
    one.catalogue([IDS])
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EnvironmentFault, match=r"no-such-compiler.*compile=false"):
        mined(one, compile=True)


@pytest.mark.parametrize(("channels", "mean"), [(1, [0.4]), (1, [0.4, 0.5, 0.6]), (3, [0.4]), (3, [0.4, 0.5, 0.6])])
def test_films_are_looked_up_to_the_bit_of_what_is_computed(channels: int, mean: list[float]) -> None:
    raw: dict[str, Any] = {"backbone": "resnet10t", "pixels": {"size": 32, "channels": channels}}
    raw |= {"mean": mean, "std": [0.2 + 0.01 * n for n in range(len(mean))]}
    model = build(validate(ClassifierConfig, raw), ["a"], "multilabel").eval()
    x = torch.randint(0, 256, (3, channels, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        found, expected = model.prepare(x), model.normalise(x.float() / 255)
        assert torch.equal(found, expected)
        assert found.stride() == expected.stride()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(model.prepare(x), expected.to(torch.bfloat16))
            assert torch.equal(model.pre_logits(model.prepare(x)), model.pre_logits(expected))


def test_an_input_that_is_not_read_by_a_convolution_alone_is_not_rounded() -> None:
    raw = {"backbone": "resnet10t", "pixels": {"size": 32}}
    model = build(validate(ClassifierConfig, raw), ["a"], "multilabel").eval()

    class Doubled(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x * 2)

    model.backbone = Doubled(model.backbone)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert model.prepare(torch.zeros(1, 1, 32, 32, dtype=torch.uint8)).dtype == torch.float32
