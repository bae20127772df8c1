# ruff: noqa: E501 - rows of a table are as wide as they are
"""Figures of retrieval: ours, the bare passes and the peers, side by side in one run, on one thread.

make bench-retrieval                    # all; prints markdown rows, writes benchmarks/out/retrieval.json
python -m benchmarks.retrieval --images 50000 --no-million --no-peers      # a quick look
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import ONE_THREAD

os.environ.update(ONE_THREAD)

import numpy as np
import pyarrow as pa
from scipy import sparse

from benchmarks import archive, measure
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.index import Index
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.ranking import Filters, Ranking, Statistics
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import Draft, Snapshot, bury, commit_snapshot, open_index

OUT = Path(__file__).parent / "out"
TOP, QUERIES, CHECKED, N = 20, 400, 100, 16_384
FILTERS = {"30": ("view", "LATERAL"), "1.4": ("role", "test"), "0.1": ("rare", "yes"), "0.001": ("rarest", "yes")}


def rankings(codes: sparse.csr_array) -> list[Ranking]:
    found = []
    for row in range(codes.shape[0]):
        span = slice(codes.indptr[row], codes.indptr[row + 1])
        values = codes.data[span].astype(np.float64)
        found.append(Ranking("cosine", codes.indices[span].astype(np.int64), values / np.linalg.norm(values)))
    return found


def brute(codes: sparse.csr_array, one: Ranking, mask: np.ndarray | None = None) -> np.ndarray:
    """Cosines of all images in float64, by scipy; -1 where a filter bars."""
    query = np.zeros(codes.shape[1])
    query[one.neurons] = one.weights
    wide = codes.astype(np.float64)
    cosines = wide @ query / np.sqrt(wide.multiply(wide).sum(axis=1))
    return cosines if mask is None else np.where(mask, cosines, -1)


def recall(cosines: np.ndarray, rows: np.ndarray) -> float:
    """Share of the best that were found; a tie with the last place counts as found."""
    wanted = min(TOP, int((cosines > 0).sum()))
    last = np.partition(cosines, -wanted)[-wanted] if wanted else 1.0
    return float((cosines[rows] >= last - 1e-12).sum() / wanted) if wanted else float(len(rows) == 0)


def ours(a: archive.Archive, asked: list[Ranking]) -> tuple[dict[str, Any], Index, Draft]:
    began = time.perf_counter()
    draft = Draft.of("all", a.codes, a.table)
    index = Index([draft.open()], Statistics(draft.rows, draft.frequency))
    build_s = time.perf_counter() - began
    (segment,) = index.segments
    lists = segment.postings.lists
    bare = Filters()
    score = np.zeros(len(segment), np.float32)
    began = time.perf_counter()
    index.search(asked[0], "none", bare, TOP)
    first_ms = 1e3 * (time.perf_counter() - began)
    service = SearchService(index)
    some = segment.images.names(np.linspace(0, len(segment) - 1, QUERIES).astype(np.int64))
    rng = np.random.default_rng(1)
    df = np.sort(draft.frequency)[::-1]
    popular = np.argsort(-draft.frequency, kind="stable")[:200]
    print("popular lists:", df[0], "to", df[199], "postings; median of all", int(np.median(df)))
    any_neuron, any_popular = rng.integers(0, N, (QUERIES, 3)), rng.choice(popular, (QUERIES, 3))

    def concept(neurons: np.ndarray) -> Any:
        return lambda at: index.search(Ranking.of("sum", {int(neurons[at, 0]): 1.0}), "none", bare, TOP)

    def and_not(neurons: np.ndarray) -> Any:
        def ask(at: int) -> object:
            one, two, three = (int(j) for j in neurons[at])
            must = (((one,), 0.0), ((two,), 0.0))
            return index.search(
                Ranking.of("sum", {one: 1.0, two: 1.0}, must=must, must_not=((three, 0.0),)), "none", bare, TOP
            )

        return ask

    ways: dict[str, Any] = {
        "read": lambda at: measure.read(*lists, asked[at].neurons),
        "read_vectorised": lambda at: measure.read_vectorised(*lists, asked[at].neurons),
        "scatter": lambda at: measure.scatter(*lists, asked[at].neurons, asked[at].weights.astype(np.float32), score),
        "exact": lambda at: index.search(asked[at], "none", bare, TOP),
        "segment": lambda at: segment.search(asked[at], index.weights("none"), TOP),
        "concept": concept(any_neuron),
        "concept_popular": concept(any_popular),
        "and_not": and_not(any_neuron),
        "and_not_popular": and_not(any_popular),
        "service": lambda at: service.search(Query(like=[some[at]])),
    }
    for share, (column, value) in FILTERS.items():
        held = Filters(columns=((column, frozenset([value])),))
        ways[f"filter {share}"] = lambda at, held=held: index.search(asked[at], "none", held, TOP)
    times = measure.interleaved(ways, QUERIES)
    index.search_many(asked[:8], "none", [bare] * 8, TOP)
    qps = [
        1e3 * len(asked) / measure.best_of(lambda: index.search_many(asked, "none", [bare] * len(asked), TOP), 1)
        for _ in range(3)
    ]
    order = np.argsort(np.array(a.table["image_id"].to_pylist()))
    ordered = a.codes[order]
    table = a.table.take(pa.array(order))
    filters = {}
    for share, (column, value) in FILTERS.items():
        mask = np.array(table[column].to_pylist()) == value
        held = segment.allowed(Filters(columns=((column, frozenset([value])),)))
        hits = [segment.search(one, index.weights("none"), TOP, held)[0] for one in asked[: CHECKED // 4]]
        right = [recall(brute(ordered, one, mask), rows) for one, rows in zip(asked, hits, strict=False)]
        filters[share] = {"recall": float(np.mean(right)), **times[f"filter {share}"], "images": int(mask.sum())}
    hits = [segment.search(one, index.weights("none"), TOP)[0] for one in asked[:CHECKED]]
    right = [recall(brute(ordered, one), rows) for one, rows in zip(asked, hits, strict=False)]
    return (
        {
            "exact": {**times["exact"], "recall_at_20": float(np.mean(right)), "checked": CHECKED},
            "segment": times["segment"],
            "floor": {name: times[name] for name in ("read", "read_vectorised", "scatter")},
            "floor_ratio": times["exact"]["p50_ms"] / times["read"]["p50_ms"],
            "concept_p50_ms": times["concept"]["p50_ms"],
            "concept_popular_p50_ms": times["concept_popular"]["p50_ms"],
            "and_not_p50_ms": times["and_not"]["p50_ms"],
            "and_not_popular_p50_ms": times["and_not_popular"]["p50_ms"],
            "service": times["service"],
            "qps": float(np.median(qps)),
            "build_s": build_s,
            "compile_first_ms": first_ms,
            "filters": filters,
        },
        index,
        draft,
    )


def in_the_lake(folder: Path, draft: Draft, new: archive.Archive) -> dict[str, Any]:
    """Opening in a fresh process, adding and removing; in memory and durably."""
    lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
    plan = Plan(Recipe("index", 0, {}), {"codes": "bench", "catalog": "bench"})
    parts = draft.put(lake, plan)
    snapshot = Snapshot((("all", draft.rows),), {}, Statistics(draft.rows, draft.frequency))
    base = commit_snapshot(lake, plan, "index.bench", snapshot, parts, {"codes": "bench"})
    open_index(lake, base, folder / "cache")
    opened = [
        json.loads(
            subprocess.run(
                [sys.executable, "-m", "benchmarks.opening", str(folder), base.recipe, base.artifact],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for _ in range(3)
    ]
    figures = {name: float(np.median([one[name] for one in opened])) for name in opened[0]}

    def add() -> Index:
        small = Draft.of("new", new.codes, new.table)
        index = open_index(lake, base, folder / "cache")
        began.append(time.perf_counter())
        small = Draft.of("new", new.codes, new.table)
        counts = Statistics(draft.rows + small.rows, draft.frequency + small.frequency)
        grown = Index([*index.segments, small.open()], counts)
        ended.append(time.perf_counter())
        return grown

    began: list[float] = []
    ended: list[float] = []
    for _ in range(5):
        add()
    figures["add_1000_ms"] = 1e3 * float(np.median(np.subtract(ended, began)))
    ids = open_index(lake, base, folder / "cache").segments[0].images.names(np.arange(0, 377 * 1000, 377) % draft.rows)
    gone = []
    for _ in range(5):
        index = open_index(lake, base, folder / "cache")
        index.find(ids[0])
        start = time.perf_counter()
        bury(index.segments, index.statistics, ids)
        gone.append(1e3 * (time.perf_counter() - start))
    figures["remove_ms"] = float(np.median(gone))
    start = time.perf_counter()
    changes.remove(lake, base, folder / "cache", ids)
    figures["remove_durably_ms"] = 1e3 * (time.perf_counter() - start)
    return figures


def million(images: int) -> dict[str, float]:
    """p50 over two million images, and its slope."""
    a = archive.make(images, seed=11)
    draft = Draft.of("large", a.codes, a.table)
    index = Index([draft.open()], Statistics(draft.rows, draft.frequency))
    own = rankings(a.codes[:QUERIES])
    lists = index.segments[0].postings.lists
    bare = Filters()
    times = measure.interleaved(
        {
            "exact": lambda at: index.search(own[at], "none", bare, TOP),
            "read": lambda at: measure.read(*lists, own[at].neurons),
        },
        QUERIES // 2,
    )
    return {"images": images, **times["exact"], "floor_p50_ms": times["read"]["p50_ms"]}


def peers(a: archive.Archive, asked: sparse.csr_array, python: str) -> dict[str, Any]:
    """The peers, in their own environment; scipy and torch in ours."""
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        np.savez(
            Path(folder) / "codes.npz",
            indptr=a.codes.indptr,
            indices=a.codes.indices,
            data=a.codes.data,
            q_indptr=asked.indptr,
            q_indices=asked.indices,
            q_data=asked.data,
            n=N,
        )
        found: dict[str, Any] = {}
        for interpreter, names in (
            (sys.executable, "scipy_csc scipy_csr torch faiss_binary"),
            (python, "sparse_dot_topn duckdb seismic kannolo qdrant"),
        ):
            for name in names.split():
                done = subprocess.run(
                    [interpreter, str(Path(__file__).parent / "retrieval_peers.py"), name, folder],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=1200,
                )
                lines = done.stdout.strip().splitlines()
                found[name] = json.loads(lines[-1]) if done.returncode == 0 else {"failed": done.stderr.strip()[-300:]}
                print(name, found[name], flush=True)
        return found


def rows(figures: dict[str, Any]) -> str:
    e, f = figures["exact"], figures["floor"]
    lines = [
        "| what | figure |",
        "|---|---|",
        f"| exact nearest images, p50 / p95 | {e['p50_ms']:.2f} / {e['p95_ms']:.2f} ms, recall@20 {e['recall_at_20']:.4f} |",
        f"| over a bare scalar read of the same postings ({f['read']['p50_ms']:.2f} ms) | {figures['floor_ratio']:.2f} × |",
        f"| bare vectorised read; bare scatter-add | {f['read_vectorised']['p50_ms']:.2f}; {f['scatter']['p50_ms']:.2f} ms |",
        f"| concept; of the 200 most popular | {figures['concept_p50_ms']:.3f}; {figures['concept_popular_p50_ms']:.3f} ms |",
        f"| A and B not C; of the 200 most popular | {figures['and_not_p50_ms']:.3f}; {figures['and_not_popular_p50_ms']:.3f} ms |",
        f"| whole answer with reasons, p50 | {figures['service']['p50_ms']:.2f} ms |",
        f"| batch, one thread | {figures['qps']:.0f} queries/s |",
        f"| build | {figures['build_s']:.1f} s |",
        f"| open a fetched index; first query | {figures['open_ms']:.0f} ms, {figures['open_rss_mb']:.0f} MB; {figures['first_query_ms']:.0f} ms |",
        f"| add 1,000; remove 1,000 (durably) | {figures['add_1000_ms']:.0f}; {figures['remove_ms']:.0f} ({figures['remove_durably_ms']:.0f}) ms |",
    ]
    for share, one in figures["filters"].items():
        lines.append(f"| {share} % allowed | {one['p50_ms']:.2f} ms, recall {one['recall']:.4f} |")
    if figures.get("million"):
        m = figures["million"]
        lines.append(
            f"| {m['images']:,} images, p50; slope | {m['p50_ms']:.2f} ms; {figures['million_slope_ms']:.2f} ms a million |"
        )
    for name, one in figures.get("peers", {}).items():
        text = (
            f"failed: {one['failed'][-80:]}"
            if "failed" in one
            else f"{one['p50_ms']:.2f} / {one['p95_ms']:.2f} ms, recall {one['recall']:.4f}, build {one['build_s']:.1f} s"
        )
        lines.append(f"| peer: {name} | {text} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=377_110)
    parser.add_argument("--million", type=int, default=2_000_000)
    parser.add_argument("--no-million", action="store_true")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--peers", default=os.environ.get("PEERS_PYTHON", ""), help="Python of the peers' environment")
    given = parser.parse_args()
    OUT.mkdir(exist_ok=True)
    before = measure.load()
    whole = archive.make(given.images + 2_000)
    a, queries = whole.part(0, given.images), whole.part(given.images, given.images + 1_000).codes
    asked = rankings(queries)
    figures, index, draft = ours(a, asked)
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        figures |= in_the_lake(Path(folder), draft, whole.part(given.images + 1_000, given.images + 2_000))
    del index, draft
    print(json.dumps(figures, indent=1), flush=True)
    if not given.no_million:
        figures["million"] = million(given.million)
        gap = (given.million - given.images) / 1e6
        figures["million_slope_ms"] = (figures["million"]["p50_ms"] - figures["exact"]["p50_ms"]) / gap
    if not given.no_peers:
        figures["peers"] = peers(a, queries[:200], given.peers or sys.executable)
    figures["machine"] = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": before,
        "load_after": measure.load(),
        "images": given.images,
        "neurons": N,
        "k": 32,
    }
    (OUT / "retrieval.json").write_text(json.dumps(figures, indent=1))
    print(rows(figures))
    print(
        f"load {before:.1f} before, {measure.load():.1f} after; {os.cpu_count()} cores, one thread used; no GPU was run"
    )


if __name__ == "__main__":
    main()
