"""What mining costs: against the bare forward pass, against a plain script, against what decoding allows, at any size.

All figures in one run, beside their floors and peers. `neuroconcepts` is run as a user runs it, start-up included.
A bare pass stands before and after each mining, for the machine may not stay the same.

make bench-mining                       # an hour on two idle cores
python -m benchmarks.mining --packed 4000 --raw 300   # shorter; start-up then weighs more, and is told
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import decode, engine, measure, status
from benchmarks.mining_archives import write
from neuroconcepts_ray.distributed.compat import prepare_environment

OUT = Path(__file__).parent / "out"
MODELS = {"resnet50": 1, "resnet18": 3}
"""Backbones, and how many times the packed films each needs, so that start-up weighs alike."""

BOUNDS = {
    "forward_share.resnet50": (">=", 0.95),
    "forward_share.resnet18": (">=", 0.88),
    "startup_share.resnet50": ("<=", 0.02),
    "startup_share.resnet18": ("<=", 0.02),
    "over_dataloader.resnet50": (">=", 2.5),
    "over_dataloader_bf16.resnet50": (">=", 1.0),
    "raw_share": (">=", 0.9),
    "decode_share": ("<=", 0.75),
    "decode_psnr_db": (">=", 45.0),
    "overhead_ms_per_image": ("<=", 1.0),
    "resume_s": ("<=", 30.0),
    "status_s": ("<=", 2.0),
}

PIPELINE = """
lake: lake
phi_root: phi
catalog:
  adapter: csv
  root: {root}
  split: hash
  near_duplicates: keep
  csv: {{file: films.csv, image: path, image_id: image_id, patient: patient, labels: [Finding]}}
classifier: {{backbone: {model}, weights: {model}.safetensors}}
activations: {{dtype: {dtype}, threads: 2}}
{more}
"""


def child(module: str, *args: object) -> dict[str, Any]:
    """The JSON that a module of the benchmarks prints last."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, args)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def verb(folder: Path, *args: str) -> tuple[float, list[dict[str, Any]]]:
    """Run a verb in its pipeline's folder: seconds, and the events that it told."""
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "neuroconcepts_ray", *args, "-c", "pipeline.yaml"]
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env=env | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{' '.join(args)}: exit {done.returncode}\n{done.stderr[-3000:]}")
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return time.monotonic() - began, told


def weights(model: str, path: Path) -> None:
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model(model, pretrained=False, num_classes=1).state_dict(), path)


def prepare(folder: Path, root: Path, model: str, dtype: str, more: str = "") -> None:
    """A pipeline with catalog and classifier, but nothing mined."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    weights(model, folder / f"{model}.safetensors")
    (folder / "pipeline.yaml").write_text(PIPELINE.format(root=root, model=model, dtype=dtype, more=more))
    verb(folder, "catalog")
    verb(folder, "train")


def mined(folder: Path, model: str, dtype: str, count: int, seconds: float) -> dict[str, Any]:
    """Mine between two bare passes."""
    before = child("mining_bare", model, dtype, seconds)["per_second"]
    spent, told = verb(folder, "mine")
    after = child("mining_bare", model, dtype, seconds)["per_second"]
    bare = (before + after) / 2
    steps = next(event for event in reversed(told) if event["event"] == "summary")
    found = {
        "images": count,
        "seconds": spent,
        "per_second": count / spent,
        "bare": [before, after],
        "share": count / spent / bare,
        # All that is not the actor's work on shards, nor its waiting between two: Ray, imports, the model, the commit.
        "startup_share": 1 - sum(steps[f"{step}_s"] for step in ("infer", "write", "wait")) / spent,
        "steps": steps,
    }
    print(f"{folder.name}, {model}: {json.dumps(found)}", file=sys.stderr, flush=True)  # a long run is watched
    return found


def packed(work: Path, films: int, seconds: float) -> dict[str, Any]:
    """From packed pixels."""
    found = {}
    for model, times in MODELS.items():
        count = films * times
        root = work / f"small-{count}"
        write(root, "small", count)
        prepare(work / f"packed-{model}", root, model, "bfloat16", "pixels: {pack: true}")
        spent, _ = verb(work / f"packed-{model}", "pack")
        found[model] = mined(work / f"packed-{model}", model, "bfloat16", count, seconds) | {"pack_s": spent}
    return found


def _decode(paths: list[Path]) -> int:
    from neuroconcepts_ray.imaging.config import PixelConfig
    from neuroconcepts_ray.imaging.load import load_pixels

    for path in paths:
        load_pixels(path.read_bytes(), PixelConfig())
    return len(paths)


def decode_rate(root: Path, count: int) -> float:
    """Films a second that as many processes as mining has cores read and decode, and nothing else."""
    paths = sorted(root.rglob("*.jpg"))[:count]
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(_decode, [paths[:1]] * cores))
        began = time.perf_counter()
        done = sum(pool.map(_decode, [paths[n::cores] for n in range(cores)]))
        return done / (time.perf_counter() - began)


def raw(work: Path, films: int, plain_films: int, seconds: float) -> dict[str, Any]:
    """From JPEGs of MIMIC-CXR's size, beside a plain script on some of the same files."""
    root = work / f"large-{films}"
    write(root, "large", films)
    for path in root.rglob("*.jpg"):  # into the page cache, for all alike
        path.read_bytes()
    prepare(work / "raw", root, "resnet50", "bfloat16")
    decode = decode_rate(root, plain_films)
    ours = mined(work / "raw", "resnet50", "bfloat16", films, seconds)
    plain = {d: child("mining_loader", root, "resnet50", d, plain_films)["per_second"] for d in ("float32", "bfloat16")}
    forward = sum(ours["bare"]) / 2
    return {"ours": ours, "dataloader": plain, "decode_per_second": decode, "at_most": 1 / (1 / decode + 1 / forward)}


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """The figures that are asked for, by their names."""
    ours = found["raw"]["ours"]["per_second"]
    return {
        "forward_share": {model: one["share"] for model, one in found["packed"].items()},
        "startup_share": {model: one["startup_share"] for model, one in found["packed"].items()},
        "over_dataloader": {"resnet50": ours / found["raw"]["dataloader"]["float32"]},
        "over_dataloader_bf16": {"resnet50": ours / found["raw"]["dataloader"]["bfloat16"]},
        "raw_share": ours / found["raw"]["at_most"],
        **found["decode"],
        **{name: found["engine"][name] for name in ("overhead_ms_per_image", "rss_mb", "resume_s")},
        **found["status"],
    }


def value(result: dict[str, Any], name: str) -> Any:
    """A figure by its dotted name."""
    for key in name.split("."):
        result = result[key]
    return result


def show(result: dict[str, Any]) -> None:
    """The table, for people."""
    print("| figure | measured | asked | holds |\n|---|---|---|---|")
    for name, (sign, bound) in BOUNDS.items():
        got = value(result, name)
        holds = got >= bound if sign == ">=" else got <= bound
        print(f"| {name} | {got:.3f} | {sign} {bound:g} | {'yes' if holds else 'no'} |")
    for images, mb in result["rss_mb"].items():
        print(f"| rss_mb.{images} | {mb:.0f} | | |")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--packed", type=int, default=44_000, help="films of the packed run (resnet50; resnet18: 3x)")
    options.add_argument("--raw", type=int, default=9_500, help="films of MIMIC-CXR's size, of 1.5 MB")
    options.add_argument("--plain", type=int, default=1_500, help="of these, films that the plain scripts read")
    options.add_argument("--seconds", type=float, default=40.0, help="of a bare pass")
    options.add_argument("--folder", type=Path, default=OUT / "mining", help="where archives and lakes are kept")
    asked = options.parse_args()
    prepare_environment()
    work = asked.folder.resolve()
    found = {
        "machine": {"cores": os.cpu_count(), "load": measure.load()},
        "packed": packed(work, asked.packed, asked.seconds),
        "raw": raw(work, asked.raw, min(asked.raw, asked.plain), asked.seconds),
        "decode": decode.asked_for(decode.measured(squares=(224,))),
        "engine": engine.measure(),
        "status": status.measure(),
    }
    result = figures(found)
    show(result)
    OUT.mkdir(exist_ok=True)
    (OUT / "mining.json").write_text(json.dumps(result | {"detail": found}, indent=1))


if __name__ == "__main__":
    main()
