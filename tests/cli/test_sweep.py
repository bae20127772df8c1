"""``fit --sweep``: what is refused before anything is trained, and what is no pair of seeds."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from neuroconcepts_ray.cli.sweep import _stability, check_folder
from neuroconcepts_ray.errors import ConfigError


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for path in (file, file / "deeper" / "out", tmp_path / "nowhere"):
        with pytest.raises(ConfigError, match="a file is where the folder"):
            check_folder(path)
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "out")


def test_one_sae_under_two_seeds_is_no_figure_of_stability() -> None:
    same = cast(Any, SimpleNamespace(artifact="a"))
    assert _stability([{"seed": "0"}, {"seed": "0"}], [same, same], cast(Any, None)) == []
