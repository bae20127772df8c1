"""FVU at equal L0 and at equal bits: the family of SAEs beside PCA, a random dictionary, and ReLU with an L1 penalty.

Trained on roles fit and probe, measured on the patients of role test; nothing is chosen on them. TopK, Batch TopK,
Matryoshka and JumpReLU are the defaults with k = 2, 4, 8 and 16. What has a penalty instead of a k (gated, ReLU+L1, and
ReLU+L1 in the recipe of Concepts from Neurons) is trained over a grid of penalties, and its curve is interpolated where
another's L0 lies. Two archives: what `make demo` made, and, where they are beside the project, real films.

make bench-sae-curve            # demo/pipeline.yaml, and the real films where they are
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped

from benchmarks.precision import OUT, PIPELINE, REAL_LABELS, SHARED
from neuroconcepts_ray import pipeline
from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.catalog.tables import load_catalog, positions
from neuroconcepts_ray.distributed.compat import prepare_environment
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import FIT_ROLES, SAEConfig
from neuroconcepts_ray.sae.controls import code_bits, components_at, random_fvu
from neuroconcepts_ray.sae.data import Resident
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.family.relu import CONCEPTS_FROM_NEURONS
from neuroconcepts_ray.sae.fit import Member, fit
from neuroconcepts_ray.sae.fold import fold
from neuroconcepts_ray.sae.measure import codes
from neuroconcepts_ray.sae.metrics import principal
from neuroconcepts_ray.stats import patient_bootstrap

KS = (2, 4, 8, 16)
COUNTED = ("topk", "batchtopk", "matryoshka", "jumprelu")
PENALISED = ("gated", "relu_l1")
FACTORS = (0.5, 1, 2, 4, 8, 12, 16, 24, 32)
"""Of the default penalty, from dense codes to none."""
CFN_FACTORS = (1, 10, 100, 300, 1000, 3000, 10000)
CFN = "relu_l1 (CFN)"


@dataclass(frozen=True)
class Archive:
    """Activations of one archive.

    Attributes:
        fitted: Of roles fit and probe.
        x: Of role test.
        groups: The patient of each row of ``x``.
    """

    fitted: Float[np.ndarray, "m d"]
    x: Float[np.ndarray, "h d"]
    groups: Shaped[np.ndarray, " h"]


@dataclass(frozen=True)
class Fitted:
    """One SAE on role test.

    Attributes:
        member: Its name.
        asked: Its k, or its penalty.
        n: Latents.
        l0: Mean number that fire.
        dead: Share that fires for no training image.
        errors: ‖x − x̂‖² of each image.
    """

    member: str
    asked: float
    n: int
    l0: float
    dead: float
    errors: Float[np.ndarray, " h"]


def variance(x: Float[np.ndarray, "h d"]) -> float:
    """Σ‖x − x̄‖²."""
    return float(np.square(x - x.mean(axis=0, dtype=np.float64)).sum())


class PCA:
    """What PCA leaves of each image, by number of components; between two numbers it is interpolated."""

    def __init__(self, archive: Archive) -> None:
        mean = archive.fitted.mean(axis=0, dtype=np.float64)
        centred = archive.fitted - mean
        directions = principal(centred.T @ centred, archive.fitted.shape[1])
        centred = archive.x - mean
        explained = np.square(centred @ directions.T)[:, ::-1].cumsum(axis=1)  # ascending eigenvalues
        whole = np.square(centred).sum(axis=1)[:, None]
        self.left = np.hstack([whole, whole - explained])

    def errors(self, components: float) -> Float[np.ndarray, " h"]:
        components = min(components, self.left.shape[1] - 1)
        below = int(components)
        part = components - below
        return (1 - part) * self.left[:, below] + part * self.left[:, min(below + 1, self.left.shape[1] - 1)]


def interpolated(curve: Sequence[Fitted], l0: float) -> Float[np.ndarray, " h"] | None:
    """Errors of a curve at an L0, linear in log L0 between its neighbours; None beyond its ends."""
    ordered = sorted((one for one in curve if one.l0 > 0), key=lambda one: one.l0)
    for a, b in pairwise(ordered):
        if a.l0 <= l0 <= b.l0:
            part = (np.log(l0) - np.log(a.l0)) / max(np.log(b.l0) - np.log(a.l0), 1e-12)
            return (1 - part) * a.errors + part * b.errors
    return None


def train(archive: Archive, named: Sequence[tuple[str, float, dict[str, Any]]]) -> list[Fitted]:
    """Fit all of some settings over one stream, and measure them."""
    rows = Resident(torch.from_numpy(archive.fitted))
    members = []
    for _, _, settings in named:
        config = SAEConfig.model_validate(settings).resolve_steps(len(rows))
        members.append(Member(config, begin(rows, config)))
    fit(rows, members, lambda *_: None)
    found = []
    for (name, asked, _), member in zip(named, members, strict=True):
        state = member.state
        sae = fold(state, objective(member.config, len(state.idle)).at(state.step))
        z, z_fit = codes(sae, archive.x), codes(sae, archive.fitted)
        x_hat = z @ sae.W_dec.numpy() + sae.b_dec.numpy()
        dead = 1 - float((z_fit.max(axis=0).toarray() > 0).mean())
        errors = np.square(archive.x.astype(np.float64) - x_hat).sum(axis=1)
        found.append(Fitted(name, asked, sae.n, z.nnz / z.shape[0], dead, errors))
    return found


def counted() -> list[tuple[str, float, dict[str, Any]]]:
    """What has a k, with the defaults."""
    return [(variant, float(k), {"variant": variant, "k": k}) for variant in COUNTED for k in KS]


def penalised(d: int) -> list[tuple[str, float, dict[str, Any]]]:
    """What has a penalty, over a grid, with the defaults beside it."""
    penalties = [2 / d * factor for factor in FACTORS]
    return [(variant, p, {"variant": variant, "penalty": p}) for variant in PENALISED for p in penalties]


def cfn() -> list[tuple[str, float, dict[str, Any]]]:
    """The recipe of Concepts from Neurons, and the same with larger penalties."""
    penalties = [CONCEPTS_FROM_NEURONS["penalty"] * factor for factor in CFN_FACTORS]
    return [(CFN, p, CONCEPTS_FROM_NEURONS | {"penalty": p}) for p in penalties]


def compare(archive: Archive) -> dict[str, Any]:
    """Every point of the family beside its controls."""
    pca, x = PCA(archive), archive.x.astype(np.float64)
    began = time.perf_counter()
    fitted: list[Fitted] = []
    for part in (counted(), penalised(archive.fitted.shape[1]), cfn()):
        fitted += train(archive, part)
        print(f"{len(fitted)} SAEs after {time.perf_counter() - began:.0f} s", file=sys.stderr)
    seconds = time.perf_counter() - began
    whole, mean = variance(x), archive.fitted.mean(axis=0, dtype=np.float64)
    by = {name: [one for one in fitted if one.member == name] for name in (*COUNTED, *PENALISED, CFN)}

    def difference(errors: Float[np.ndarray, " h"], control: Float[np.ndarray, " h"]) -> list[float]:
        delta = errors - control
        interval = patient_bootstrap(lambda rows: float(delta[rows].sum()) / variance(x[rows]), archive.groups)
        return [float(delta.sum()) / whole, *interval]

    def point(name: str, asked: float, n: int, l0: float, dead: float | None, errors: Any) -> dict[str, Any]:
        bits = code_bits(n, l0)
        at_bits = pca.errors(components_at(bits))
        controls = {other: interpolated(by[other], l0) for other in ("relu_l1", CFN) if other != name}
        told = {
            "member": name,
            "asked": asked,
            "l0": l0,
            "dead": dead,
            "fvu": float(errors.sum()) / whole,
            "pca": float(pca.errors(l0).sum()) / whole,
            "less_than_pca": difference(errors, pca.errors(l0)),
            "bits": bits,
            "pca_bits": float(at_bits.sum()) / whole,
            "less_than_pca_bits": difference(errors, at_bits),
            "random": random_fvu(mean, archive.x, n, round(l0)),
        }
        return told | {f"at {other}": None if e is None else float(e.sum()) / whole for other, e in controls.items()}

    points = [point(o.member, o.asked, o.n, o.l0, o.dead, o.errors) for name in COUNTED for o in by[name]]
    for name in PENALISED:
        for k in KS:
            errors = interpolated(by[name], float(k))
            if errors is not None:
                points.append(point(name, float(k), by[name][0].n, float(k), None, errors))
    return {
        "fitted": len(archive.fitted),
        "test": len(x),
        "patients": len(np.unique(archive.groups)),
        "d": x.shape[1],
        "seconds": seconds,
        "points": points,
        "penalties": [
            {"member": o.member, "penalty": o.asked, "l0": o.l0, "dead": o.dead, "fvu": float(o.errors.sum()) / whole}
            for name in (*PENALISED, CFN)
            for o in by[name]
        ],
    }


def above(point: dict[str, Any]) -> bool:
    """Whether it leaves less unexplained than every control that there is at its L0."""
    names = ("pca", "pca_bits", "random", "at relu_l1", f"at {CFN}")
    return all(point["fvu"] < point[name] for name in names if point.get(name) is not None)


def show(name: str, result: dict[str, Any]) -> None:
    print(
        f"\n{name}: d = {result['d']}, fitted on {result['fitted']} images, measured on {result['test']} of "
        f"{result['patients']} patients of role test"
    )
    print(
        "| member | k | L0 | dead | FVU | PCA, equal L0 | difference (95 %) | PCA, equal bits | difference (95 %) "
        "| random | ReLU+L1 | its CFN recipe | above all |"
    )
    print("|" + "---|" * 13)

    def number(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    for p in result["points"]:
        intervals = ["{:+.3f} ({:+.3f}, {:+.3f})".format(*p[key]) for key in ("less_than_pca", "less_than_pca_bits")]
        cells = [p["member"], f"{p['asked']:g}", f"{p['l0']:.1f}", number(p["dead"]), number(p["fvu"])]
        cells += [number(p["pca"]), intervals[0], number(p["pca_bits"]), intervals[1], number(p["random"])]
        cells += [number(p.get("at relu_l1")), number(p.get(f"at {CFN}")), "yes" if above(p) else "no"]
        print(f"| {' | '.join(cells)} |")
    print("\n| member | penalty | L0 | dead | FVU |\n|---|---|---|---|---|")
    for p in result["penalties"]:
        print(f"| {p['member']} | {p['penalty']:.2g} | {p['l0']:.1f} | {p['dead']:.3f} | {p['fvu']:.3f} |")


def opened(file: Path, *, make: bool) -> Archive:
    """Activations of a pipeline; made where they may be.

    Raises:
        SystemExit: They are not there.
    """
    line = Pipeline(pipeline.load(file, []))
    outcomes = line.walk(make=("catalog", "train", "mine") if make else (), until="mine")
    have = {o.name: o.manifest for o in outcomes if o.manifest is not None}
    if "activations.pre_logits" not in have:
        raise SystemExit(f"{file} has no activations: run `make demo`, or `neuroconcepts run -c {file}`")
    catalog = load_catalog(line.lake, have["catalog"])
    ids, x = load_activations(line.lake, have["activations.pre_logits"])
    at = positions(ids, catalog.image_ids)
    roles, test = catalog.roles[at], catalog.roles[at] == "test"
    return Archive(x[np.isin(roles, FIT_ROLES)], x[test], catalog.groups[at][test])


def real_films(folder: Path) -> Archive:
    """Films of the shared archive through a small black box trained on them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hash.key").write_bytes(b"a benchmark has no secrets")
    file = folder / "pipeline.yaml"
    file.write_text(PIPELINE.format(root=SHARED / "mimic_cxr_jpg", labels=REAL_LABELS, epochs=8, size=96))
    return opened(file, make=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pipeline", type=Path, default=Path("demo/pipeline.yaml"), help="the phantom's chain")
    options.add_argument("--only", choices=("phantom", "real"), help="one of the two archives")
    options.add_argument("--folder", type=Path, help="where artifacts of the real films stay; otherwise thrown away")
    asked = options.parse_args()
    if asked.only != "real" and not asked.pipeline.is_file():
        raise SystemExit(f"{asked.pipeline} is not there: run `make demo` first, or give another with --pipeline")
    prepare_environment()
    results = {}
    with tempfile.TemporaryDirectory() as passing:
        if asked.only != "real":
            results["phantom"] = compare(opened(asked.pipeline, make=False))
            show("phantom", results["phantom"])
        if asked.only != "phantom":
            if (SHARED / "mimic_cxr_jpg").is_dir():
                results["real films"] = compare(real_films((asked.folder or Path(passing)).resolve()))
                show("real films", results["real films"])
            else:
                print("\nreal films: skipped, shared/data is not beside the project")
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "sae_curve.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
