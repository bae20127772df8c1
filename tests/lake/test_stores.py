"""The contract of a store, on disk and in memory."""

from pathlib import Path

import pytest

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.store import LocalStore, MemoryStore, open_store
from tests.contract.store import StoreContract


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "lake")

    def peek(self, store: LocalStore, key: str) -> bytes | None:
        path = store.root / key
        return path.read_bytes() if path.exists() else None

    def plant(self, store: LocalStore, key: str, data: bytes) -> None:
        path = store.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def test_a_part_has_a_file_to_map(self, store: LocalStore) -> None:
        store.write("a/b.faiss", b"1")
        path = store.local_path("a/b.faiss")
        assert path is not None
        assert path.read_bytes() == b"1"

    def test_no_temporary_file_stays_behind(self, store: LocalStore) -> None:
        store.create("a/b.json", b"1")
        with pytest.raises(FileExistsError):
            store.create("a/b.json", b"1")
        assert [p.name for p in (store.root / "a").iterdir()] == ["b.json"]

    def test_the_phi_root_is_for_its_owner_alone(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "not" / "there" / "phi"), mode=0o700)
        store.write("catalog/x.parquet", b"1")
        assert (tmp_path / "not" / "there" / "phi").stat().st_mode & 0o077 == 0
        assert (tmp_path / "not" / "there" / "phi" / "catalog").stat().st_mode & 0o077 == 0


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> MemoryStore:
        return MemoryStore()

    def peek(self, store: MemoryStore, key: str) -> bytes | None:
        return store._bytes.get(key)

    def plant(self, store: MemoryStore, key: str, data: bytes) -> None:
        store._bytes[key] = data


def test_a_phi_root_that_was_open_to_others_is_closed_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "phi").mkdir(mode=0o755)
    open_store(str(tmp_path / "phi"), mode=0o700).create("hash.key", b"secret")
    assert (tmp_path / "phi").stat().st_mode & 0o077 == 0
    assert (tmp_path / "phi" / "hash.key").stat().st_mode & 0o077 == 0


def test_a_scheme_that_no_store_serves_is_refused() -> None:
    with pytest.raises(ConfigError, match="no store serves"):
        open_store("gopher://host/lake")
