"""What a scaled JPEG decode and bfloat16 change of what the black box says, and of who is whose neighbour.

A small black box is trained by the product's own chain on full-size decodes in float32. The same weights then mine the
archive four times: decode in full or scaled, arithmetic float32 or bfloat16. Logits are compared with the first of the
four, and so are the 20 nearest images of every image (other patients' only, as the product answers by default), asked
of the product's index over the codes of one SAE and of one normalisation of units, both fitted on the first.

make bench-precision            # phantom and, where they are beside the project, real films
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import sparse

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.activations.tables import load_activations
from neuroconcepts_ray.distributed.compat import prepare_environment
from neuroconcepts_ray.neurons.encode import encode_latents, encode_units
from neuroconcepts_ray.neurons.normalisation import Normalisation
from neuroconcepts_ray.phantom.archive import write_archive
from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.retrieval import flat
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.query import TOP, Query
from neuroconcepts_ray.retrieval.ranking import Statistics
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import Draft
from neuroconcepts_ray.sae.model import SAE, load_sae

OUT = Path(__file__).parent / "out"
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
LOGITS, OVERLAP = 0.02, 0.95

PIPELINE = """
lake: lake
phi_root: phi
catalog: {{name: films, root: "{root}", hash_key_file: hash.key, split: hash, labels: {labels}}}
classifier:
  backbone: resnet10t
  backbone_kwargs: {{channels: [24, 48, 96, 256], stem_width: 8}}
  pixels: {{size: {size}, jpeg_margin: 0}}
  epochs: {epochs}
  batch_size: 32
  lr: 0.004
  warmup: 0.2
activations: {{dtype: float32}}
sae: {{steps: 400, k: 16}}
"""
PHANTOM_LABELS = "[Atelectasis, Cardiomegaly, Consolidation, Edema, Lung Lesion, No Finding, Pleural Effusion]"
REAL_LABELS = "[Atelectasis, Cardiomegaly, Lung Opacity, No Finding, Pleural Effusion, Pneumonia]"


def mined(file: Path, *overrides: str) -> tuple[Pipeline, dict[str, Any]]:
    line = Pipeline(pipeline.load(file, list(overrides)))
    line.walk(make=("catalog", "train", "mine"), until="mine")
    return line, {o.name: o.manifest for o in line.walk(until="mine") if o.manifest is not None}


def vectors(line: Pipeline, have: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ids, f = load_activations(line.lake, have["activations.pre_logits"])
    also, logits = load_activations(line.lake, have["activations.logits"])
    if not np.array_equal(ids, also):
        raise SystemExit("rows of two taps differ")
    order = np.argsort(ids)
    return ids[order], f[order], logits[order]


def neighbours(codes: sparse.csr_array, rows: pa.Table, dense: np.ndarray | None) -> dict[str, list[str]]:
    draft = Draft.of("one", codes, rows, dense)
    index = Index([draft.open()], Statistics(draft.rows, draft.frequency))
    service = SearchService(index, dense=dense is not None)
    ids = rows["image_id"].to_pylist()
    return {one: [hit.image_id for hit in service.search(Query(like=[one])).hits] for one in ids}


def overlap(ours: dict[str, list[str]], theirs: dict[str, list[str]]) -> float:
    return float(np.mean([len(set(ours[one]) & set(theirs[one])) / max(1, len(ours[one])) for one in ours]))


def all_neighbours(f: np.ndarray, rows: pa.Table, sae: SAE, units: Normalisation) -> dict[str, dict[str, list[str]]]:
    z = ((f - units.mean) / units.std).astype(np.float32)
    return {
        "latents": neighbours(encode_latents(sae, f, 256), rows, None),
        "units": neighbours(encode_units(units, f, 32), rows, flat.unit(z)),
    }


def compare(folder: Path, root: Path, labels: str, size: int, epochs: int) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hash.key").write_bytes(b"a benchmark has no secrets")
    file = folder / "pipeline.yaml"
    file.write_text(PIPELINE.format(root=root, labels=labels, epochs=epochs, size=size))
    line = Pipeline(pipeline.load(file, []))
    line.walk(make=("catalog", "train", "mine", "fit"), until="fit")
    have = {o.name: o.manifest for o in line.walk(until="fit") if o.manifest is not None}
    weights = folder / "black-box.safetensors"
    weights.write_bytes(line.lake.read(next(p for p in have["classifier"].parts if p.key.endswith(".safetensors"))))
    ids, f, logits = vectors(line, have)
    table = line.lake.tables(have["catalog"], "images-", ["image_id", "study", "group", "view", "role"])
    rows = table.take(pa.array(np.argsort(np.array(table["image_id"].to_pylist()))))
    if rows["image_id"].to_pylist() != ids.tolist():
        raise SystemExit("a film of the catalog was not mined")
    sae, units = load_sae(line.lake, have["sae"]), Normalisation.of(f)
    base = all_neighbours(f, rows, sae, units)
    found = []
    for margin in (0, 2, 4):
        for dtype in ("float32", "bfloat16"):
            overrides = [f"classifier.weights={weights}", f"classifier.pixels.jpeg_margin={margin}"]
            also_ids, g, also = vectors(*mined(file, *overrides, f"activations.dtype={dtype}"))
            if not np.array_equal(ids, also_ids):
                raise SystemExit("rows of two runs differ")
            theirs = all_neighbours(g, rows, sae, units)
            shift = np.abs(also - logits)
            found.append(
                {
                    "margin": margin,
                    "dtype": dtype,
                    "logit_shift_mean": float(shift.mean()),
                    "logit_shift_p99": float(np.quantile(shift, 0.99)),
                    "logit_shift_max": float(shift.max()),
                    **{f"overlap_{space}": overlap(base[space], theirs[space]) for space in base},
                }
            )
    return {
        "images": len(ids),
        "square": size,
        "labels": logits.shape[1],
        "logits_sd": float(logits.std()),
        "ways": found,
    }


def show(name: str, result: dict[str, Any]) -> None:
    sizes = f"{result['images']} films to {result['square']} pixels"
    print(f"\n{name}: {sizes}, {result['labels']} logits of standard deviation {result['logits_sd']:.2f}")
    print("| margin | dtype | logit shift mean | p99 | max | top-20 latents | top-20 units | within |")
    print("|---|---|---|---|---|---|---|---|")
    for way in result["ways"]:
        shift, kept = way["logit_shift_mean"], min(way["overlap_latents"], way["overlap_units"])
        margin = way["margin"] or "full"
        print(
            f"| {margin} | {way['dtype']} | {shift:.4f} | {way['logit_shift_p99']:.4f} | {way['logit_shift_max']:.4f} "
            f"| {way['overlap_latents']:.4f} | {way['overlap_units']:.4f} "
            f"| {'yes' if shift <= LOGITS and kept >= OVERLAP else 'no'} |"
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--patients", type=int, default=120)
    options.add_argument("--width", type=int, default=512, help="of a phantom film")
    options.add_argument("--epochs", type=int, default=8)
    options.add_argument("--only", choices=("phantom", "real"), help="one of the two archives")
    options.add_argument("--folder", type=Path, help="where artifacts stay; otherwise they are thrown away")
    asked = options.parse_args()
    prepare_environment()
    with tempfile.TemporaryDirectory() as passing:
        folder = (asked.folder or Path(passing)).resolve()
        height = asked.width * 19 // 16
        config = PhantomConfig(patients=asked.patients, width=asked.width, height=height, processes=2)
        write_archive(config, folder / "archive", folder / "reports", folder / "truth")
        archives = {f"phantom {asked.width}×{height}": (folder / "archive", PHANTOM_LABELS, 64)}
        if (SHARED / "mimic_cxr_jpg").is_dir():
            archives["real films, 384 to 512 pixels"] = (SHARED / "mimic_cxr_jpg", REAL_LABELS, 96)
        results = {}
        for number, (name, (root, labels, size)) in enumerate(archives.items()):
            if asked.only and not name.startswith(asked.only):
                continue
            results[name] = compare(folder / f"chain-{number}", root, labels, size, asked.epochs)
            show(name, results[name])
            OUT.mkdir(exist_ok=True)
            bounds = {"logit_shift_mean": LOGITS, "overlap": OVERLAP, "top": TOP}
            (OUT / "precision.json").write_text(json.dumps({"bounds": bounds, "archives": results}, indent=2))


if __name__ == "__main__":
    main()
