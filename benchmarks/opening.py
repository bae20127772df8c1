"""Open a fetched index in a process of its own, and ask it once; prints milliseconds and resident megabytes."""

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.measure import ONE_THREAD, resident_mb

os.environ.update(ONE_THREAD)

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.retrieval import faiss_guard, kernels  # noqa: F401
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import open_index

folder, recipe, artifact = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
lake = Lake.open(str(folder / "lake"), str(folder / "phi"))
manifest = lake.manifest("index", recipe, artifact)
if manifest is None:
    sys.exit("the index that was to be opened is gone")
faiss_guard.load()
before = resident_mb()
began = time.perf_counter()
index = open_index(lake, manifest, folder / "cache")
opened = time.perf_counter()
grown = resident_mb() - before
image_id = index.segments[0].images.names(index.segments[0].forward.indptr[5:6] // 32)[0]
ask = time.perf_counter()
SearchService(index).search(Query(like=[image_id]))
answered = time.perf_counter()
print(
    json.dumps(
        {
            "open_ms": 1e3 * (opened - began),
            "open_rss_mb": grown,
            "first_query_ms": 1e3 * (answered - ask),
            "after_query_rss_mb": resident_mb() - before,
        }
    )
)
