"""The phantom chain grown by sixty patients, as they are and with another exposure; without Ray."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.cli.main import call
from tests.conftest import PATIENTS, Chain, Command
from tests.erasure.world import without_ray

MORE = 60


@pytest.fixture(scope="session")
def grown(
    archive: Path, chain: Chain, nc_alone: Command, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Chain]:
    """Makes the finished chain over the grown archive, its new films passed through a function."""
    source = tmp_path_factory.mktemp("more")
    sizes = ("--set", "height=76", "--set", "width=64", "--set", "seed=5")
    nc_alone("phantom", source, "--set", f"patients={PATIENTS + MORE}", *sizes)
    (source / "hash.key").write_bytes((archive / "hash.key").read_bytes())
    old = {film.name for film in (archive / "archive").rglob("*.jpg")}

    def make(folder: Path, change: Callable[[np.ndarray], np.ndarray] | None) -> Chain:
        import shutil

        shutil.copytree(source, folder / "archive")
        for film in (folder / "archive").rglob("*.jpg"):
            if change is not None and film.name not in old:
                pixels = change(np.asarray(Image.open(film)).astype(np.float64))
                Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(film, quality=95)
        made = chain.clone(folder / "run")
        made.file.write_text(made.file.read_text().replace(str(chain.archive), str(folder / "archive")))
        with without_ray():
            assert call(["run", "-c", str(made.file), "--new-only"]) == 0
        return made

    return make
