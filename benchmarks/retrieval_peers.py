"""One peer in a process of its own: ``python retrieval_peers.py <peer> <folder with codes.npz>``; prints JSON."""

import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
from scipy import sparse  # noqa: E402

TOP = 20
FOLDER = Path(sys.argv[2])
_held = np.load(FOLDER / "codes.npz")
N = int(_held["n"])
CODES = sparse.csr_array((_held["data"], _held["indices"], _held["indptr"]), shape=(len(_held["indptr"]) - 1, N))
ASKED = sparse.csr_array(
    (_held["q_data"], _held["q_indices"], _held["q_indptr"]), shape=(len(_held["q_indptr"]) - 1, N)
)


def query(at: int) -> tuple[np.ndarray, np.ndarray]:
    span = slice(ASKED.indptr[at], ASKED.indptr[at + 1])
    return ASKED.indices[span], ASKED.data[span]


def best(scores: np.ndarray) -> np.ndarray:
    return np.argpartition(scores, -TOP)[-TOP:]


def scipy_csc() -> Any:
    columns = sparse.csc_array(CODES)
    return lambda at: best(columns[:, query(at)[0]] @ query(at)[1])


def scipy_csr() -> Any:
    return lambda at: best(CODES @ ASKED[[at]].toarray()[0])


def torch() -> Any:
    import warnings

    import torch as t

    t.set_num_threads(1)
    warnings.filterwarnings("ignore", message="Sparse CSR")
    codes = t.sparse_csr_tensor(
        t.from_numpy(CODES.indptr.astype(np.int64)),
        t.from_numpy(CODES.indices.astype(np.int64)),
        t.from_numpy(CODES.data),
        CODES.shape,
    )
    return lambda at: t.topk(codes @ t.from_numpy(ASKED[[at]].toarray()[0]), TOP).indices.numpy()


def sparse_dot_topn() -> Any:
    from sparse_dot_topn import sp_matmul_topn

    turned = sparse.csr_matrix(CODES.T)
    return lambda at: sp_matmul_topn(sparse.csr_matrix(ASKED[[at]]), turned, top_n=TOP).indices


def duckdb() -> Any:
    import duckdb as d
    import pyarrow as pa

    base = d.connect()
    base.execute("set threads = 1")
    rows = np.repeat(np.arange(CODES.shape[0], dtype=np.int32), np.diff(CODES.indptr))
    table = pa.table({"j": CODES.indices.astype(np.int32), "i": rows, "z": CODES.data})
    base.register("given", table)
    base.execute("create table p as select * from given order by j")

    def ask(at: int) -> np.ndarray:
        neurons, values = query(at)
        listed = ",".join(f"({j},{v})" for j, v in zip(neurons.tolist(), values.tolist(), strict=True))
        sql = (
            f"select i from p join (values {listed}) q(j, w) using (j) group by i order by sum(z * w) desc limit {TOP}"  # noqa: S608
        )
        return np.array([row[0] for row in base.execute(sql).fetchall()])

    return ask


def _vectors(path: Path, codes: sparse.csr_array) -> None:
    """seismic's binary form: count, then per vector its length, components (u32) and values (f32)."""
    with path.open("wb") as file:
        file.write(struct.pack("<I", codes.shape[0]))
        for row in range(codes.shape[0]):
            span = slice(codes.indptr[row], codes.indptr[row + 1])
            file.write(struct.pack("<I", span.stop - span.start))
            file.write(codes.indices[span].astype("<u4").tobytes())
            file.write(codes.data[span].astype("<f4").tobytes())


def seismic() -> Any:
    from seismic import SeismicIndexRaw

    path = FOLDER / "seismic.bin"
    _vectors(path, CODES)
    index = SeismicIndexRaw.build(str(path), n_postings=1000)
    return lambda at: np.array(
        [int(one[1]) for one in index.search(query(at)[0].astype(np.int32), query(at)[1], TOP, 10, 0.8, 0, True)]
    )


def kannolo() -> Any:
    from kannolo import SparsePlainHNSW

    flat = [CODES.indices.astype(np.int32), CODES.data.astype(np.float32), CODES.indptr.astype(np.int32)]
    index = SparsePlainHNSW.build_from_arrays(*flat, m=16, ef_construction=200)

    def ask(at: int) -> np.ndarray:
        neurons, values = query(at)
        return np.asarray(index.search(neurons.astype(np.int32), values.astype(np.float32), TOP, 800)[1], np.int64)

    return ask


def qdrant() -> Any:
    import qdrant_edge as q

    folder = FOLDER / "qdrant"
    folder.mkdir()
    shard = q.EdgeShard.create(str(folder), q.EdgeConfig(sparse_vectors={"s": q.EdgeSparseVectorParams()}))
    for first in range(0, CODES.shape[0], 5000):
        points = []
        for row in range(first, min(first + 5000, CODES.shape[0])):
            span = slice(CODES.indptr[row], CODES.indptr[row + 1])
            points.append(
                q.Point(row, {"s": q.SparseVector(CODES.indices[span].tolist(), CODES.data[span].tolist())}, {})
            )
        shard.update(q.UpdateOperation.upsert_points(points))
    shard.optimize()

    def ask(at: int) -> np.ndarray:
        neurons, values = query(at)
        wanted = q.Query.Nearest(q.SparseVector(neurons.tolist(), values.tolist()), using="s")
        return np.array([one.id for one in shard.query(q.QueryRequest(query=wanted, limit=TOP))])

    return ask


def faiss_binary() -> Any:
    import faiss

    faiss.omp_set_num_threads(1)
    rng = np.random.default_rng(0)
    plane = rng.standard_normal((N, 512)).astype(np.float32)

    def signs(codes: sparse.csr_array) -> np.ndarray:
        return np.concatenate(
            [np.packbits(codes[a : a + 8192] @ plane > 0, axis=1) for a in range(0, codes.shape[0], 8192)]
        )

    index = faiss.IndexBinaryFlat(512)
    index.add(signs(CODES))

    def ask(at: int) -> np.ndarray:
        rows = index.search(signs(ASKED[[at]]), 1000)[1][0]
        scores = CODES[rows] @ ASKED[[at]].toarray()[0]
        return rows[best(scores)]

    return ask


def main() -> None:
    began = time.perf_counter()
    ask = globals()[sys.argv[1]]()
    built = time.perf_counter() - began
    ask(0)
    spent, right = [], []
    columns = sparse.csc_array(CODES)
    for at in range(ASKED.shape[0]):
        start = time.perf_counter()
        rows = ask(at)
        spent.append(1e3 * (time.perf_counter() - start))
        neurons, values = query(at)
        exact = columns[:, neurons].astype(np.float64) @ values.astype(np.float64)
        last = np.partition(exact, -TOP)[-TOP]
        right.append(float((exact[np.asarray(rows)] >= last - 1e-6).sum() / TOP))
    print(
        json.dumps(
            {
                "p50_ms": float(np.median(spent)),
                "p95_ms": float(np.percentile(spent, 95)),
                "recall": float(np.mean(right)),
                "build_s": built,
            }
        )
    )


if __name__ == "__main__":
    main()
