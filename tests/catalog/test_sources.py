"""An image's bytes are given out only if they are those that were catalogued."""

import hashlib
from pathlib import Path

import pytest

from neuroconcepts_ray.catalog.sources import Source, read_source
from neuroconcepts_ray.errors import DigestError, EnvironmentFault, InputError
from neuroconcepts_ray.imaging.undecodable import Undecodable

DATA = b"a film"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "archive" / "p10000032").mkdir(parents=True)
    (tmp_path / "archive" / "p10000032" / "a.jpg").write_bytes(DATA)
    (tmp_path / "secret").write_bytes(DATA)
    return tmp_path / "archive"


def source(key: str) -> Source:
    return Source(key, len(DATA), hashlib.sha256(DATA).hexdigest(), "image-7")


def test_an_unchanged_file_is_read(root: Path) -> None:
    assert read_source(str(root), source("p10000032/a.jpg")) == DATA
    assert read_source(f"file://{root}", source("p10000032/a.jpg")) == DATA


@pytest.mark.parametrize("data", [b"a fil", b"A film", b""])
def test_a_changed_file_is_refused_by_its_image_id_not_its_path(root: Path, data: bytes) -> None:
    (root / "p10000032" / "a.jpg").write_bytes(data)
    with pytest.raises(DigestError, match="image-7") as caught:
        read_source(str(root), source("p10000032/a.jpg"))
    assert "10000032" not in caught.value.message


def test_a_missing_file_is_an_error_of_input_and_a_missing_archive_one_of_the_machine(root: Path) -> None:
    with pytest.raises(InputError, match="image-7") as caught:
        read_source(str(root), source("p10000032/b.jpg"))
    assert "10000032" not in caught.value.message
    with pytest.raises(EnvironmentFault):
        read_source(str(root.parent / "unmounted"), source("p10000032/a.jpg"))


def test_a_failing_disk_is_an_oserror_that_names_no_patient(root: Path) -> None:
    (root / "p10000032" / "folder").mkdir()
    with pytest.raises(OSError, match="directory") as caught:
        read_source(str(root), source("p10000032/folder"))
    assert "10000032" not in str(caught.value)
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize("key", ["../secret", "p10000032/../../secret", "/etc/hostname", "", "a\0b", "..\\secret"])
def test_no_key_leaves_the_root(root: Path, key: str) -> None:
    with pytest.raises(InputError, match="leaves"):
        read_source(str(root), source(key))


def test_a_file_larger_than_is_decoded_is_not_read(root: Path) -> None:
    huge = Source("p10000032/a.jpg", 1 << 40, "0" * 64, "image-7")
    with pytest.raises(Undecodable) as caught:
        read_source(str(root), huge)
    assert caught.value.cause == "too many bytes"
