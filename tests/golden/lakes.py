"""The golden lakes, unpacked into any pair of stores."""

import functools
import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.store import Store

HERE = Path(__file__).parent
VERSIONS = sorted(folder.name for folder in HERE.iterdir() if (folder / "lake.tar.xz").exists())


@functools.cache
def files(version: str) -> dict[str, bytes]:
    """Every file of a golden lake by its path: ``lake/…``, ``phi/…`` and ``pipeline.yaml``."""
    with tarfile.open(HERE / version / "lake.tar.xz") as tar:
        opened = ((info.name, tar.extractfile(info)) for info in tar if info.isfile())
        return {name: file.read() for name, file in opened if file is not None}


@functools.cache
def expected(version: str) -> Any:
    """What readers must find in it."""
    return json.loads(gzip.decompress((HERE / version / "expected.json.gz").read_bytes()))


def unpack(version: str, store: Store, phi: Store) -> Lake:
    """A golden lake in two stores."""
    for name, data in files(version).items():
        root, _, key = name.partition("/")
        if key:
            (phi if root == "phi" else store).write(key, data)
    return Lake(store, phi)
