"""status of an archive's mining, on stub lakes: no film, no network, no Ray."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.status import stub, write
from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.cli.mining import per_second
from neuroconcepts_ray.cli.units import size, span
from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.lake.lake import Lake

IMAGES, SHARDS = 5 * 512 + 100, 6


def made(folder: Path, unfinished: int) -> Path:
    file = write(folder, str(folder / "lake"), str(folder / "phi"))
    assert stub(file, IMAGES, unfinished) == SHARDS
    return file


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Any:
    def run(file: Path, *args: str) -> str:
        assert call(["status", "-c", str(file), *args]) == 0
        return capfd.readouterr().out

    return run


def test_an_unfinished_pass_is_told_with_its_shards_its_bottleneck_and_what_was_set_aside(
    ask: Any, tmp_path: Path
) -> None:
    file = made(tmp_path, unfinished=2)
    (told,) = json.loads(ask(file, "--json"))["mining"]
    assert told["shards"] == SHARDS
    assert told["shards_done"] == {"activations.pre_logits": 4, "activations.logits": 4}
    assert (told["images"], told["images_done"]) == (IMAGES, round(4 * IMAGES / SHARDS))
    assert told["seconds"] == pytest.approx(
        {"read": 0.81 / 512, "decode": 9.7 / 512, "infer": 5.43 / 512, "write": 0.24 / 512}
    )
    assert (told["causes"], told["receipts"]) == ({"truncated": 1}, 4)
    assert (told["running"], told["eta_s"]) == (False, None)
    text = ask(file)
    assert f"4 of {SHARDS} shards" in text
    assert "not running" in text
    assert "1 truncated" in text

    with leases.hold(Lake.open(str(tmp_path / "lake"), str(tmp_path / "phi")).store, "mine"):
        (told,) = json.loads(ask(file, "--json"))["mining"]
    assert told["running"]
    assert told["eta_s"] == round((told["images"] - told["images_done"]) / told["per_second"])


def test_a_finished_pass_names_every_image_that_was_set_aside(ask: Any, tmp_path: Path) -> None:
    file = made(tmp_path, unfinished=0)
    told = json.loads(ask(file, "--json"))
    (mining,) = told["mining"]
    assert set(mining["shards_done"].values()) == {SHARDS}
    assert mining["images_done"] == IMAGES
    assert mining["causes"] == {"truncated": 2}
    assert len(told["quarantined"]) == 2
    text = ask(file)
    assert all(f"set aside by activations: {one['image_id']}: truncated" in text for one in told["quarantined"])


def test_the_pass_over_patches_is_told_beside_that_over_images(ask: Any, tmp_path: Path) -> None:
    more = ["--set", "activations.taps=[logits:patches]", "--set", "activations.patches={size: 0.25}"]
    file = made(tmp_path, unfinished=2)
    images, patches = json.loads(ask(file, "--json", *more))["mining"]
    assert (images["of"], images["shards"], patches["of"]) == ("images", SHARDS, "patches")
    # A shard has 96 MB of films at most, and a film is decoded to 896 instead of 224 pixels.
    assert patches["shards"] == -(-IMAGES // (96 * 1024**2 // 896**2))
    assert patches["shards_done"] == {"activations.logits:patches": 0}
    text = ask(file, *more)
    assert f"mining: 4 of {SHARDS} shards" in text
    assert f"mining patches: 0 of {patches['shards']} shards" in text


def test_of_many_images_set_aside_the_causes_are_told_and_some_names() -> None:
    from neuroconcepts_ray.cli.look import SHOWN, _aside

    few = [(f"i{n:03}", "activations", "truncated") for n in range(SHOWN)]
    assert len(_aside(few)) == SHOWN
    many = _aside([*few, ("j", "activations", "empty"), ("k", "activations", "empty")])
    assert many[0] == f"set aside by activations: {SHOWN} images: truncated"
    assert many[1] == "set aside by activations: 2 images: empty"
    assert many[-1] == "and 2 more; --json names all"


@pytest.mark.parametrize(
    ("times", "rate"),
    [([], None), ([5.0], None), ([5.0, 5.0], None), ([0.0, 2.0, 4.0], 5.0), ([0.0, 1.0, 2.0, 3602.0, 3604.0], 5.0)],
)
def test_the_rate_is_that_since_the_last_pause(times: list[float], rate: float | None) -> None:
    assert per_second(times, 10.0) == rate


def test_it_loads_nothing_that_looks_at_films_or_computes(tmp_path: Path) -> None:
    file = made(tmp_path, unfinished=1)
    script = (
        "import sys; from neuroconcepts_ray.cli.main import call; code = call(sys.argv[1:]); "
        "print(*{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "status", "-c", str(file)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "pydantic" in loaded
    assert not loaded & {"torch", "ray", "scipy", "sklearn", "pydicom", "pandas", "PIL", "timm", "numba", "s3fs"}


def test_a_pipeline_without_a_catalog_has_no_mining(ask: Any, tmp_path: Path) -> None:
    file = write(tmp_path, str(tmp_path / "lake"), str(tmp_path / "phi"))
    assert pipeline.load(file, [])
    assert json.loads(ask(file, "--json"))["mining"] == []


@pytest.mark.parametrize(("count", "text"), [(0, "0 bytes"), (1500, "1.5 kB"), (2.5e13, "25.0 TB")])
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119.0, "119 s"), (120.0, "2.0 min"), (9000.0, "2.5 h"), (200000.0, "2.3 days")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
