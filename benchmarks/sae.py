"""Figures of fitting an SAE: ours, the bare products and the peers, side by side in one run.

make bench-sae                                          # all; prints tables, writes benchmarks/out/sae.json
python -m benchmarks.sae --only speed --runs 1          # a part of it, quickly
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure, sae_data
from benchmarks.sae_runs import Task
from neuroconcepts_ray.activations.config import native_dtype

OUT = Path(__file__).parent / "out"
ROOT = Path(__file__).parents[1]
ADAM = ("sae-lens", "sae-lens-sparse", "sparsify", "overcomplete", "dictionary-learning")
"""Peers that train with Adam: what ours is timed against."""
SCORED = ("sae-lens", "sparsify", "sparsify-signum", "overcomplete", "dictionary-learning")
"""Peers whose result is scored; sae-lens' sparse activations are another way to the same."""
FLOORS = ("product-float32", "product-bfloat16", "adam")
SHAPES = {"1024x8192": (1024, 8192, 6, ADAM), "2048x16384": (2048, 16384, 4, ("sae-lens-sparse", "sparsify"))}
"""d, n, steps and peers; the second shape asks those alone that are fast in the first."""
K, BATCH = 32, 2048
FURTHER_FVU, FURTHER_FOUND = 0.005, 0.02
"""How much more FVU, and how many fewer atoms, than the best peer's are within the bounds."""


class Process:
    """A trainer that waits for tasks, so that it is imported once and takes turns with the others."""

    def __init__(self, name: str, python: str) -> None:
        module = "benchmarks.sae_peers" if name in (*ADAM, *SCORED) else "benchmarks.sae_ours"
        self.name = name
        self.popen = subprocess.Popen(
            [python if module.endswith("peers") else sys.executable, "-m", module, name],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(OUT / f"sae-{name}.log").open("w"),
            text=True,
            # Ours as the command sets it; the peers' threads spin while they wait, as torch has it by default.
            env=os.environ | ({} if module.endswith("peers") else {"OMP_WAIT_POLICY": "PASSIVE"}),
        )

    def line(self) -> dict[str, Any]:
        text = self.popen.stdout.readline() if self.popen.stdout else ""
        if not text:
            raise SystemExit(f"{self.name} ended early; see {OUT}/sae-{self.name}.log")
        answer: dict[str, Any] = json.loads(text)
        return answer

    def ask(self, task: Task) -> dict[str, Any]:
        assert self.popen.stdin  # noqa: S101
        self.popen.stdin.write(json.dumps(asdict(task)) + "\n")
        self.popen.stdin.flush()
        return self.line()

    def close(self) -> None:
        if self.popen.stdin:
            self.popen.stdin.close()
        self.popen.wait()


class Crew:
    """All processes by name, begun when first asked for."""

    def __init__(self, python: str) -> None:
        self.python, self.held, self.versions = python, {}, {}  # type: str, dict[str, Process], dict[str, str]

    def ask(self, name: str, task: Task) -> dict[str, Any]:
        if name not in self.held:
            self.held[name] = Process(name, self.python)
            self.versions[name] = self.held[name].line()["version"]
        return self.held[name].ask(task)

    def close(self) -> None:
        for one in self.held.values():
            one.close()


def speed(crew: Crew, folder: Path, runs: int, shapes: Sequence[str]) -> dict[str, Any]:
    """Samples a second after the first two steps; every run times all of them in turn, ratios are within a run."""
    precisions = ["float32"] + (["bfloat16"] if native_dtype() == "bfloat16" else [])
    found = {}
    for shape in shapes:
        d, n, steps, peers = SHAPES[shape]
        rng = np.random.default_rng(0)
        x = rng.standard_normal((BATCH * steps, 256)).astype(np.float32) @ rng.standard_normal((256, d)).astype(
            np.float32
        )
        here = folder / shape
        sae_data.write(here, x, x[:2], n=n, batch=BATCH, steps=steps, atoms=None)
        ways = {f"ours-{p}": ("ours", {"precision": p}) for p in precisions}
        ways |= {name: (name, {}) for name in (*peers, *FLOORS[: len(precisions)], "adam")}
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for run in range(runs):
            for name in list(ways)[run % len(ways) :] + list(ways)[: run % len(ways)]:
                process, options = ways[name]
                task = Task(str(here), n, K, settings="equal", score=False, options=options)
                rates[name].append(crew.ask(process, task)["samples_per_s"])
            print(shape, f"run {run + 1}:", {name: round(rate[-1]) for name, rate in rates.items()}, flush=True)

        def over(mine: str, other: str, rates: dict[str, list[float]] = rates) -> float:
            return float(np.median(np.divide(rates[mine], rates[other])))

        middle = {name: float(np.median(rate)) for name, rate in rates.items()}
        fastest = max(peers, key=lambda name: middle[name])
        best = f"ours-{precisions[-1]}"
        found[shape] = {
            "d": d,
            "n": n,
            "k": K,
            "batch": BATCH,
            "runs": runs,
            "samples_per_s": middle,
            "all_samples_per_s": rates,
            "fastest_peer": fastest,
            "over_fastest_peer": over(best, fastest),
            "over_fastest_peer_float32": over("ours-float32", fastest),
            "float32_floor_share": over("ours-float32", "product-float32"),
            "bf16_floor_share": over("ours-bfloat16", "product-bfloat16") if len(precisions) > 1 else None,
        }
    return found


def quality(crew: Crew, folder: Path, steps: int) -> dict[str, Any]:
    """Held-out FVU at equal samples, on planted rows (each seen once) and on a finite archive (seen many times)."""
    n, k, batch, held = 2048, 16, 512, 4096
    x, _ = sae_data.planted(batch * steps + held, 0)
    sae_data.write(folder / "planted", x[held:], x[:held], n=n, batch=batch, steps=steps, atoms=None)
    archive = sae_data.activations(20_000 + held, 256, 0)
    sae_data.write(folder / "archive", archive[held:], archive[:held], n=n // 2, batch=batch, steps=steps, atoms=None)
    found: dict[str, Any] = {}
    for data in ("archive", "planted"):
        for settings in ("own", "equal"):
            scores = {}
            for name in ("ours", *SCORED):
                latents = n if data == "planted" else n // 2
                scores[name] = crew.ask(name, Task(str(folder / data), latents, k, settings=settings))
                print(data, settings, name, json.dumps(scores[name]), flush=True)
            best = min(SCORED, key=lambda name: scores[name]["fvu"])
            more = scores["ours"]["fvu"] - scores[best]["fvu"]
            found[f"{data}-{settings}"] = {"scores": scores, "best_peer": best, "fvu_above_best_peer": more}
    return found


def dictionary(crew: Crew, folder: Path, steps: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Share of planted atoms found, each library as it recommends, k a quarter too large and a quarter too small."""
    batch, held = 512, 4096
    found: dict[str, Any] = {}
    for seed in seeds:
        x, atoms = sae_data.planted(batch * steps + held, seed)
        here = folder / f"seed-{seed}"
        sae_data.write(here, x[held:], x[:held], n=len(atoms), batch=batch, steps=steps, atoms=atoms)
        # A quarter too small for the first seed alone: too large is what users choose.
        for k in (sae_data.ACTIVE * 5 // 4, sae_data.ACTIVE * 3 // 4)[: 2 if seed == seeds[0] else 1]:
            into = found.setdefault(f"k={k}", {})
            for name in ("ours", *SCORED):
                scores = crew.ask(name, Task(str(here), len(atoms), k, seed=seed))
                print(f"seed {seed}, k={k}", name, json.dumps(scores), flush=True)
                into.setdefault(name, []).append(scores)
        (here / "train.npy").unlink()
    for by_name in found.values():
        share = {name: float(np.mean([one["found"] for one in scores])) for name, scores in by_name.items()}
        best = max(SCORED, key=lambda name: share[name])
        by_name |= {"found": share, "best_peer": best, "found_below_best_peer": share[best] - share["ours"]}
    return found


def tables(figures: dict[str, Any]) -> str:
    lines = []
    for shape, one in figures.get("speed", {}).items():
        lines += [f"\nSpeed, {shape}, k={one['k']}, batch {one['batch']}, medians of {one['runs']} runs", ""]
        lines += ["| what | samples/s |", "|---|---|"]
        lines += [f"| {name} | {rate:,.0f} |" for name, rate in one["samples_per_s"].items()]
        share = one["bf16_floor_share"]
        lines += [
            f"| over the fastest peer with Adam, {one['fastest_peer']} | {one['over_fastest_peer']:.2f} × |",
            f"| the same in float32 | {one['over_fastest_peer_float32']:.2f} × |",
            f"| share of the bare float32 product | {one['float32_floor_share']:.2f} |",
            f"| share of the bare bfloat16 product | {'no bfloat16 here' if share is None else f'{share:.2f}'} |",
        ]
    for what, one in figures.get("quality", {}).items():
        lines += [f"\nQuality, {what}", "", "| library | held-out FVU | L0 | silent |", "|---|---|---|---|"]
        for name, s in one["scores"].items():
            lines.append(f"| {name} | {s['fvu']:.4f} | {s['l0']:.1f} | {s['silent']:.3f} |")
        within = "within" if one["fvu_above_best_peer"] <= FURTHER_FVU else "NOT within"
        lines.append(f"\nabove {one['best_peer']} by {one['fvu_above_best_peer']:+.4f}: {within} {FURTHER_FVU}")
    for k, one in figures.get("planted", {}).items():
        lines += [f"\nPlanted dictionary, {k}: share of atoms found, one column a seed", ""]
        seeds = len(one["ours"])
        lines += ["| library |" + " |" * seeds + " mean | FVU |", "|---|" + "---|" * (seeds + 2)]
        for name, share in one["found"].items():
            each = "".join(f" {s['found']:.3f} |" for s in one[name])
            lines.append(f"| {name} |{each} {share:.3f} | {np.mean([s['fvu'] for s in one[name]]):.4f} |")
        within = "within" if one["found_below_best_peer"] <= FURTHER_FOUND else "NOT within"
        lines.append(f"\nbelow {one['best_peer']} by {one['found_below_best_peer']:+.3f}: {within} {FURTHER_FOUND}")
    return "\n".join(lines)


def headline(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures that are quoted, at the top of the file."""
    top: dict[str, Any] = {}
    shape = figures.get("speed", {}).get("1024x8192")
    if shape:
        names = ("over_fastest_peer", "over_fastest_peer_float32", "float32_floor_share", "bf16_floor_share")
        top |= {name: shape[name] for name in names}
    own = figures.get("quality", {}).get("planted-own")
    if own:
        top["fvu"] = own["scores"]["ours"]["fvu"]
    if shape or own:
        top["peers"] = {
            name: ({"samples_per_s": shape["samples_per_s"].get(name)} if shape else {})
            | ({"fvu": own["scores"].get(name, {}).get("fvu")} if own else {})
            for name in dict.fromkeys((*ADAM, *SCORED))
        }
    return top


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("speed", "quality", "planted"))
    parser.add_argument("--runs", type=int, default=5, help="of the timings")
    parser.add_argument("--steps", type=int, default=1000, help="of the trainings whose quality is compared")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--peers", default=os.environ.get("SAE_PEERS_PYTHON"), help="Python of the peers' environment")
    given = parser.parse_args()
    if not given.peers:
        parser.error("name the Python of the peers' environment: --peers or SAE_PEERS_PYTHON (make bench-sae does)")
    OUT.mkdir(exist_ok=True)
    file = OUT / "sae.json"
    figures: dict[str, Any] = json.loads(file.read_text()) if given.only and file.exists() else {}
    before, crew = measure.load(), Crew(given.peers)
    try:
        with tempfile.TemporaryDirectory(dir=OUT) as folder:
            here = Path(folder)
            if given.only in (None, "speed"):
                figures["speed"] = speed(crew, here, given.runs, given.shapes)
            if given.only in (None, "quality"):
                figures["quality"] = quality(crew, here, given.steps)
            if given.only in (None, "planted"):
                figures["planted"] = dictionary(crew, here, given.steps, given.seeds)
    finally:
        crew.close()
    figures |= headline(figures)
    figures["versions"] = figures.get("versions", {}) | crew.versions
    cpu = platform.processor() or platform.machine()
    figures["machine"] = {"cpu": cpu, "cores": os.cpu_count(), "load_before": before, "load_after": measure.load()}
    file.write_text(json.dumps(figures, indent=1))
    print(tables(figures))
    print(
        f"\nload {before:.1f} before, {measure.load():.1f} after; {os.cpu_count()} cores, two threads; no GPU was run"
    )


if __name__ == "__main__":
    main()
