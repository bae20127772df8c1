"""Make the golden lake of the present format: a tiny finished chain, grown once, with removed images and every kind.

    python -m tests.golden.make v1

Run once for each version of the format, with the program that introduced it; what it wrote is committed and never made
again, for it stands for the lakes that users have. It needs no network, and some 60 s. What the readers must find is
written down beside it by plain pyarrow and safetensors, so that a reader cannot vouch for itself.
"""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file

HERE = Path(__file__).parent

PIPELINE = """\
lake: lake
phi_root: phi
catalog:
  name: golden
  root: archive
  reports: reports
  seed: 1
  split: hash
  shares: {fit: 0.3, probe: 0.2, select: 0.2, verify: 0.2, test: 0.1}
classifier:
  backbone: resnet10t
  backbone_kwargs: {channels: [8, 8, 16, 16]}
  pixels: {size: 32}
  epochs: 1
  batch_size: 8
  threads: 1
activations: {taps: [layer3], shard_rows: 8, batch_size: 4, threads: 1}
sae: {steps: 20, k: 4, expansion: 2, batch_size: 8, checkpoint_every: 10, threads: 1}
names: {min_groups: 2, min_positives: 2}
compute: {max_bad_fraction: 0.1}
"""

BEFORE, AFTER = 16, 20
"""Patients before and after the archive grows."""


def run(folder: Path, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "neuroconcepts_ray", *args], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


def draw(folder: Path, patients: int) -> None:
    sizes = ("height=32", "width=32", "seed=3", "studies_max=2", "lateral=0.1")
    run(folder, "phantom", ".", *(word for size in (f"patients={patients}", *sizes) for word in ("--set", size)))


def chain(folder: Path) -> None:
    """The chain, with one film that will never decode, two removed images, a second partition, and neighbours."""
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "phi").mkdir(mode=0o700)
    (folder / "phi" / "hash.key").write_bytes(b"the golden lake's patients are drawn")
    draw(folder, BEFORE)
    films = sorted((folder / "archive").rglob("*.jpg"), key=lambda film: film.stem)
    films[-1].write_bytes(films[-1].read_bytes()[:200])
    run(folder, "run", "-c", "pipeline.yaml")
    run(folder, "index", "remove", films[0].stem, films[1].stem, "-c", "pipeline.yaml")
    draw(folder, AFTER)
    films[-1].write_bytes(films[-1].read_bytes()[:200])
    run(folder, "run", "-c", "pipeline.yaml", "--new-only")
    run(folder, "neighbours", "-c", "pipeline.yaml", "--role", "fit", "--top", "3", "--new-only")


def plain(value: Any) -> Any:
    """A value as JSON has it: tensors as lists, what is not finite as text."""
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, np.ndarray | list) else value


def read_table(path: Path) -> dict[str, list[Any]]:
    table = pq.read_table(path)
    return {
        name: column.combine_chunks().to_numpy_ndarray().tolist()
        if isinstance(column.type, pa.FixedShapeTensorType)
        else column.to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def read_part(path: Path) -> Any:
    """What a part says: columns of a table, a description, or of tensors their shape and sum; FAISS files not."""
    if path.suffix == ".parquet":
        return read_table(path)
    if path.suffix == ".safetensors":
        return {name: [list(x.shape), float(x.astype(np.float64).sum())] for name, x in load_file(path).items()}
    return json.loads(path.read_bytes()) if path.suffix == ".json" else None


def expectations(folder: Path) -> dict[str, Any]:
    """All that every manifest's parts say, in the order of the refs and folders."""
    lake = folder / "lake"
    versions = {ref.name: sorted(ref.iterdir(), key=lambda file: int(file.stem)) for ref in (lake / "refs").iterdir()}
    refs = {name: [json.loads(one.read_bytes())["artifact"] for one in versions[name]] for name in sorted(versions)}
    manifests = []
    for file in sorted(lake.glob("*/*/*.json")):
        if file.parts[-3] == "refs":
            continue
        manifest = json.loads(file.read_bytes())
        roots = {"lake": lake, "phi": folder / "phi"}
        parts = {part["name"]: read_part(roots[part["root"]] / part["key"]) for part in manifest["parts"]}
        fields = ("kind", "name", "recipe", "artifact", "content", "inputs", "facts", "quarantined")
        manifests.append({field: manifest[field] for field in fields} | {"parts": parts})
    films = sorted(film.stem for film in (folder / "archive").rglob("*.jpg"))
    like = json.loads(run(folder, "search", "-c", "pipeline.yaml", "--like", films[2], "--json", "--new-only"))
    hits = [[hit["image_id"], hit["score"]] for hit in like["hits"]]
    return {"refs": refs, "manifests": manifests, "removed": films[:2], "search": {"like": films[2], "hits": hits}}


def pack(folder: Path, target: Path) -> None:
    """Lake, PHI root and pipeline file as one archive whose bytes do not tell when and by whom it was packed."""

    def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.mtime = info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:xz") as tar:
        for name in ("lake", "phi", "pipeline.yaml"):
            tar.add(folder / name, name, filter=anonymous)
    target.write_bytes(sink.getvalue())


def main(version: str) -> None:
    target = HERE / version
    target.mkdir()
    with tempfile.TemporaryDirectory(prefix="golden") as place:
        folder = Path(place)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.environ.pop("RAY_ADDRESS", None)
        chain(folder)
        told = json.dumps(plain(expectations(folder)), separators=(",", ":"), allow_nan=False)
        (target / "expected.json.gz").write_bytes(gzip.compress(told.encode(), 9, mtime=0))
        for folder_of in (folder / "phi" / "catalog").glob("catalog-*"):
            shutil.rmtree(folder_of)  # the memory of file times names the folder in which it was made
        pack(folder, target / "lake.tar.xz")


if __name__ == "__main__":
    main(sys.argv[1])
