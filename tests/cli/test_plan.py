"""plan as a user runs it: on the cluster, in front of `mine`."""

import json
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.pipeline import Pipeline
from tests.conftest import Chain, Resident

STEPS = {"read", "decode", "infer", "write"}


def test_without_a_classifier_it_says_what_comes_first(chain: Chain, tmp_path: Path, capfd: Any) -> None:
    mine = chain.clone(tmp_path, without=("classifier", "activations"))
    assert call(["plan", "-c", str(mine.file)]) == 3
    assert "Run `neuroconcepts train` with the same config first" in capfd.readouterr().err
    assert call(["plan", "-c", str(mine.file), "--set", "catalog.name=other"]) == 3
    assert "Run `neuroconcepts catalog` with the same config first" in capfd.readouterr().err


def test_of_a_finished_chain_there_is_nothing_to_do(chain: Chain, capfd: Any) -> None:
    assert call(["plan", "-c", str(chain.file), "--no-canary"]) == 0
    assert "Nothing to do" in capfd.readouterr().out


def test_a_stopped_run_is_kept_a_canary_adds_to_it_and_the_estimate_is_right(
    chain: Chain, resident: Resident, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = chain.clone(tmp_path, without=("activations",))
    line = ["plan", "-c", str(mine.file), "--json"]

    def ask(*args: str) -> Any:
        assert call([*line, *args]) == 0
        (only,) = json.loads(capfd.readouterr().out)["passes"]
        return only

    nothing = ask("--no-canary")
    assert (nothing["receipts"], nothing["shards_done"], nothing["wall_hours"]) == (0, 0, None)
    stopped = resident("mine", "-c", mine.file, "--set", "compute.max_bytes=1", code=4)
    assert "compute.max_bytes 1)" in stopped.error
    kept = ask("--no-canary")
    assert 1 <= kept["shards_done"] < kept["shards"]

    (told,) = json.loads(resident(*line).out)["passes"]
    assert told["shards_done"] in (kept["shards_done"], kept["shards_done"] + 1)  # one of the canary may be there
    assert set(told["seconds"]) == STEPS
    assert told["bottleneck"] in STEPS
    assert told["gpu_hours"] is None
    parts = [part for path in chain.lake.glob("activations/*/parts/*") for part in [path.stat().st_size]]
    share = told["images_to_do"] / told["images"]
    assert sum(told["bytes"].values()) == pytest.approx(sum(parts) * share, rel=0.1)

    assert call(["mine", "-c", str(mine.file), "--set", "compute.max_bytes=1"]) == 4
    assert "it was not started" in capfd.readouterr().err


def test_patches_are_planned_and_mined_after_whole_images_and_their_vectors_are_no_inputs_of_fit(
    chain: Chain, resident: Resident, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = chain.clone(tmp_path)
    more = ["-c", str(mine.file), "--set", "activations.taps=[layer3, logits:patches]"]
    more += ["--set", "activations.patches={size: 0.5}"]
    assert call(["plan", "--json", "--no-canary", *more]) == 0
    whole, patched = json.loads(capfd.readouterr().out)["passes"]
    assert (whole["of"], whole["shards_to_do"]) == ("images", 0)
    assert (patched["of"], patched["shards_done"], patched["images_to_do"]) == ("patches", 0, whole["images"])
    resident("mine", *more)
    assert call(["status", "--json", *more]) == 0
    told = json.loads(capfd.readouterr().out)
    assert [one["images_done"] for one in told["mining"]] == [whole["images"]] * 2
    line = Pipeline(pipeline.load(mine.file, more[3::2]))
    have = {one.name: one.manifest for one in line.walk(until="mine")}
    patches, logits = have["activations.logits:patches"], have["activations.logits"]
    assert patches is not None
    assert logits is not None
    assert patches.facts["shape"] == [9, logits.facts["d"]]
    assert patches.images == logits.images
    assert call(["fit", *more, "--set", "sae.tap=logits:patches"]) == 2
    assert "Take logits, for instance" in capfd.readouterr().err
    assert call(["verify", "-c", str(mine.file), "--all"]) == 0
