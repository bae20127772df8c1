"""Strict configs, YAML and --set."""

from pathlib import Path
from typing import Annotated

import pytest

from neuroconcepts_ray.config import POLICY, PathStr, StrictModel, load, parse_set, recipe_fields
from neuroconcepts_ray.errors import ConfigError


class Inner(StrictModel):
    k: int = 32
    """How many."""
    threads: Annotated[int, POLICY] = 1
    """How fast."""


class Outer(StrictModel):
    root: PathStr
    """Where."""
    inner: Inner = Inner()
    """What."""
    by_name: dict[str, Inner] = {}
    """More."""


def write(folder: Path, text: str) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(text)
    return path


def test_set_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    config = load(Outer, write(tmp_path, "root: x\ninner: {k: 8, threads: 2}"), ["inner.k=16"])
    assert config.inner == Inner(k=16, threads=2)


def test_relative_paths_belong_to_the_file_and_those_of_set_to_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "root: x")
    monkeypatch.chdir("/")
    assert load(Outer, path).root == str(tmp_path / "x")
    assert load(Outer, path, ["root=y"]).root == "/y"
    assert load(Outer, path, ["root=s3://bucket/x"]).root == "s3://bucket/x"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("root: x\ninner: {kk: 64}", r"inner.kk: there is no such key \(got 64\)"),
        ("root: x\ninner: {k: '64'}", "inner.k: .*valid integer"),
        ("inner: {k: 64}", "root: Field required"),
        ("root: [", "not YAML"),
        ("- 1", "must hold a mapping"),
        ("root: s3:/bucket/lake", r"two slashes.*got s3\).*at root"),
    ],
)
def test_a_wrong_file_is_one_message_with_the_key(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        load(Outer, write(tmp_path, text))
    assert error.value.exit_code == 2


def test_an_absent_file_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load(Outer, tmp_path / "none.yaml")


@pytest.mark.parametrize("item", ["k", "=3", "a..b=3", "a=[", ".=1"])
def test_a_malformed_set_is_refused(item: str) -> None:
    with pytest.raises(ConfigError):
        parse_set([item])


def test_sets_of_one_section_add_up() -> None:
    assert parse_set(["a.b=1", "a.c=[x, y]", "a.b=2"]) == {"a": {"b": 2, "c": ["x", "y"]}}


def test_policy_and_paths_stay_out_of_recipes() -> None:
    config = Outer(root="x", by_name={"m": Inner(k=1)})
    assert recipe_fields(config) == {"inner": {"k": 32}, "by_name": {"m": {"k": 1}}}
