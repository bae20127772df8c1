"""What every store of the lake must do; a subclass gives a store, and says how to look and tamper behind its back.

``peek`` and ``plant`` bypass the class under test, so that a fault of ``read`` cannot hide one of ``write``.
"""

import threading
import time

import pytest

from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.commit import commit
from neuroconcepts_ray.lake.refs import Ref, advance, at
from neuroconcepts_ray.lake.store import Store


class StoreContract:
    commits = 50
    """Versions that each of sixteen writers adds to one ref."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def peek(self, store: Store, key: str) -> bytes | None:
        raise NotImplementedError

    def plant(self, store: Store, key: str, data: bytes) -> None:
        raise NotImplementedError

    def test_what_is_written_is_there(self, store: Store) -> None:
        store.write("a/b.bin", b"\x00\x01")
        assert self.peek(store, "a/b.bin") == b"\x00\x01"

    def test_what_is_there_is_read(self, store: Store) -> None:
        self.plant(store, "a/b.bin", b"xyz")
        assert store.read("a/b.bin") == b"xyz"
        assert store.exists("a/b.bin")

    def test_a_missing_key_is_said_so(self, store: Store) -> None:
        assert not store.exists("a/b.bin")
        with pytest.raises(FileNotFoundError):
            store.read("a/b.bin")
        assert store.local_path("a/b.bin") is None

    def test_create_refuses_a_key_that_is_taken_and_leaves_it_alone(self, store: Store) -> None:
        store.create("refs/x/1.json", b"first")
        with pytest.raises(FileExistsError):
            store.create("refs/x/1.json", b"second")
        assert self.peek(store, "refs/x/1.json") == b"first"

    def test_exactly_one_of_many_writers_creates_a_key(self, store: Store) -> None:
        won: list[int] = []
        barrier = threading.Barrier(8)

        def offer(number: int) -> None:
            barrier.wait()
            for round_ in range(10):
                try:
                    store.create(f"race/{round_}.json", str(number).encode())
                except FileExistsError:
                    continue
                won.append(round_)

        threads = [threading.Thread(target=offer, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == list(range(10))

    def test_list_gives_the_keys_of_a_folder_sorted_and_no_neighbours(self, store: Store) -> None:
        for key in ("k/b.json", "k/a.json", "k/deep/c.json", "kk/d.json"):
            self.plant(store, key, b"1")
        assert list(store.list("k")) == ["k/a.json", "k/b.json", "k/deep/c.json"]
        assert list(store.list("none")) == []

    def test_scan_gives_keys_sizes_and_times_of_all_or_of_a_folder(self, store: Store) -> None:
        store.write("k/a.json", b"123")
        store.write("k/deep/c.json", b"1")
        store.create("kk/d.json", b"12")
        assert [(blob.key, blob.bytes) for blob in store.scan()] == [
            ("k/a.json", 3),
            ("k/deep/c.json", 1),
            ("kk/d.json", 2),
        ]
        assert [blob.key for blob in store.scan("k")] == ["k/a.json", "k/deep/c.json"]
        assert list(store.scan("none")) == []
        # The store's clock, perhaps another machine's, perhaps in whole seconds.
        assert all(abs(blob.modified - time.time()) < 60 for blob in store.scan())

    def test_writing_again_is_a_later_time(self, store: Store) -> None:
        store.write("k/a.json", b"1")
        (before,) = store.scan("k")
        store.write("k/a.json", b"2")
        (after,) = store.scan("k")
        assert after.modified >= before.modified

    def test_delete_tree_removes_a_folder_and_no_neighbours(self, store: Store) -> None:
        for key in ("k/a.json", "k/deep/c.json", "kk/d.json"):
            self.plant(store, key, b"1")
        store.delete_tree("k")
        store.delete_tree("k")
        assert [blob.key for blob in store.scan()] == ["kk/d.json"]

    def test_delete_removes_and_may_be_repeated(self, store: Store) -> None:
        self.plant(store, "a/b.json", b"1")
        store.delete("a/b.json")
        store.delete("a/b.json")
        assert self.peek(store, "a/b.json") is None

    @pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../x", "a//b", "", "a/.hidden", "a b", "a\n"])
    def test_a_key_cannot_leave_the_root(self, store: Store, key: str) -> None:
        for verb in (store.read, store.exists, store.delete, store.delete_tree, store.local_path):
            with pytest.raises(ConfigError):
                verb(key)

    def test_commits_of_sixteen_writers_are_contiguous_and_none_is_lost(self, store: Store) -> None:
        took: list[tuple[int, str]] = []

        def work(writer: int) -> None:
            for round_ in range(self.commits):
                name = f"{writer}-{round_}"
                took.append((advance(store, "main", Ref(kind="codes", recipe=str(writer), artifact=name)), name))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        count = 16 * self.commits
        assert sorted(number for number, _ in took) == list(range(1, count + 1))
        assert len({name for _, name in took}) == count
        assert sorted(store.list("refs/main")) == sorted(f"refs/main/{n}.json" for n in range(1, count + 1))
        assert all(at(store, "main", number).artifact == name for number, name in took)

    def test_a_response_lost_after_the_write_is_still_a_commit(self, store: Store) -> None:
        class Lossy:
            uri = store.uri
            read = staticmethod(store.read)

            def create(self, key: str, data: bytes) -> None:
                store.create(key, data)
                raise ConnectionResetError("the response was lost")

        ref = Ref(kind="codes", recipe="r", artifact="a")
        winner, mine = commit(Lossy(), "refs/lost/1.json", ref)  # type: ignore[arg-type]
        assert mine
        assert winner.artifact == "a"

    def test_a_retry_that_meets_its_own_write_knows_itself_as_the_winner(self, store: Store) -> None:
        class Retrying:
            uri = store.uri
            read = staticmethod(store.read)

            def create(self, key: str, data: bytes) -> None:
                store.create(key, data)
                store.create(key, data)  # the client library tries again and is told that the key exists

        _, mine = commit(Retrying(), "refs/retry/1.json", Ref(kind="codes", recipe="r", artifact="a"))  # type: ignore[arg-type]
        assert mine

    def test_the_second_of_two_writers_gets_the_first_ones_record(self, store: Store) -> None:
        commit(store, "refs/two/1.json", Ref(kind="codes", recipe="r", artifact="first"))
        winner, mine = commit(store, "refs/two/1.json", Ref(kind="codes", recipe="r", artifact="second"))
        assert not mine
        assert winner.artifact == "first"
