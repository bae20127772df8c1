"""verify: a whole lake passes, and whatever is wrong is found, named by its key, and refused by readers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.lake import refs
from neuroconcepts_ray.lake.commit import read_record, seal, sealed
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part, Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.refs import Ref
from neuroconcepts_ray.lake.store import LocalStore, MemoryStore
from neuroconcepts_ray.lake.survey import MANIFEST, RECEIPT, REF, address
from neuroconcepts_ray.lake.verify import verify
from neuroconcepts_ray.retrieval.changes import published
from neuroconcepts_ray.retrieval.search import SearchService
from tests.lake.lakes import BAD, IMAGES, make

PLAIN = Plan(Recipe("classifier", 1, {}), {})
"""Of an artifact that nothing points to."""


class VerifyContract:
    """Written for any store: a subclass gives an empty lake."""

    @pytest.fixture
    def lake(self) -> Lake:
        raise NotImplementedError

    @pytest.fixture
    def have(self, lake: Lake, tmp_path: Path) -> dict[str, Manifest]:
        return make(lake, tmp_path / "cache")

    def named(self, lake: Lake, *, everything: bool = False) -> dict[str, str]:
        return {problem.key: problem.what for problem in verify(lake, everything=everything).problems}

    def test_a_finished_lake_is_whole(self, lake: Lake, have: dict[str, Manifest]) -> None:
        report = verify(lake, everything=True)
        assert report.problems == []
        assert report.to_dict()["ok"]
        assert report.artifacts == len(have) + 1  # the index after two images were removed from it
        assert report.bytes == sum({part.key: part.bytes for part in parts_of(lake)}.values())

    def test_a_missing_part_a_shorter_one_and_an_altered_one_are_named(
        self, lake: Lake, have: dict[str, Manifest]
    ) -> None:
        gone, short, other = have["codes.latents"].parts
        lake.store.delete(gone.key)
        lake.store.write(short.key, lake.store.read(short.key)[:-1])
        lake.store.write(other.key, bytes(other.bytes))
        assert self.named(lake) == {
            gone.key: "a committed part is missing",
            short.key: f"a committed part has {short.bytes - 1} bytes instead of {short.bytes}",
            other.key: "a committed part was altered",
        }
        remedy = verify(lake).problems[0].remedy
        assert f"/receipts/{verify(lake).problems[0].key.split('/')[-1].split('-')[0]}.json" in remedy

    def test_a_receipt_that_is_gone_or_of_another_attempt_is_named(self, lake: Lake, have: dict[str, Manifest]) -> None:
        first, second, _ = have["activations.pre_logits"].parts
        folder = first.key.partition("/parts/")[0]
        lake.store.delete(f"{folder}/receipts/{first.shard}.json")
        receipt = read_record(lake.store, f"{folder}/receipts/{second.shard}.json", Receipt)
        changed = receipt.model_copy(update={"part": receipt.part.model_copy(update={"key": first.key})})
        lake.store.write(f"{folder}/receipts/{second.shard}.json", seal(changed, "0" * 32))
        problems = [problem.what for problem in verify(lake).problems]
        assert f"the receipt of a shard is gone: {folder}/receipts/{first.shard}.json" in problems
        assert f"a receipt names another part than the manifest: {folder}/receipts/{second.shard}.json" in problems

    def test_rows_and_images_set_aside_add_up_to_the_catalogs_images(
        self, lake: Lake, have: dict[str, Manifest]
    ) -> None:
        assert have["activations.pre_logits"].images == IMAGES - BAD
        key = address(have["activations.pre_logits"])
        lost = have["activations.pre_logits"].model_copy(update={"quarantined": []})
        lake.store.write(key, seal(lost, "0" * 32))
        whats = [problem.what for problem in verify(lake).problems if problem.key == key]
        assert any(
            f"{IMAGES - BAD} rows and 0 images set aside do not add up to the {IMAGES} images" in what for what in whats
        )
        assert "0 images are set aside, but by its receipts 1" in whats
        assert "a manifest does not agree with its content" in whats

    def test_a_missing_version_of_a_ref_and_a_ref_to_nothing_are_named(
        self, lake: Lake, have: dict[str, Manifest]
    ) -> None:
        name = f"index-{have['index.latents'].facts['codes']}"
        lake.store.delete(f"refs/{name}/1.json")
        refs.advance(lake.store, "catalog-tiny", Ref(kind="catalog", recipe="r", artifact="a"))
        found = self.named(lake)
        assert found[f"refs/{name}/1.json"] == "a version of a ref is missing"
        assert found["refs/catalog-tiny/2.json"] == "a ref points to an artifact that is gone: catalog/r/a.json"

    def test_an_input_that_is_gone_is_named(self, lake: Lake, have: dict[str, Manifest]) -> None:
        lake.store.delete(address(have["activations.pre_logits"]))
        found = self.named(lake)
        content = have["activations.pre_logits"].content
        what = f"its input activations.pre_logits is gone: no artifact has the content {content}"
        assert found[address(have["codes.latents"])] == what

    @pytest.mark.usefixtures("have")
    def test_what_nothing_reaches_is_checked_when_everything_is(self, lake: Lake) -> None:
        lone = lake.put_part(PLAIN, "x.bin", b"bytes")
        lake.commit_manifest(PLAIN, "classifier", [lone])
        lake.store.write(lone.key, b"other")
        assert self.named(lake) == {}
        assert self.named(lake, everything=True) == {lone.key: "a committed part was altered"}
        given = f"classifier/{PLAIN.recipe.digest}/{PLAIN.artifact}.json"
        assert [problem.key for problem in verify(lake, [given]).problems] == [lone.key]

    def test_a_copy_elsewhere_is_whole_and_answers_as_before(
        self, lake: Lake, have: dict[str, Manifest], tmp_path: Path
    ) -> None:
        asked = have["index.latents"]
        image = published(lake, asked).open(lake, tmp_path / "cache").segments[0].images.ids[-1].as_py()
        before = SearchService.open(lake, asked, cache=tmp_path / "cache").like(image)
        moved = Lake(LocalStore(tmp_path / "there" / "lake"), LocalStore(tmp_path / "there" / "phi", 0o700))
        for source, target in ((lake.store, moved.store), (lake.phi, moved.phi)):
            for blob in list(source.scan()):
                target.write(blob.key, source.read(blob.key))
                source.delete(blob.key)
        assert verify(moved, everything=True).problems == []
        assert before == SearchService.open(moved, asked, cache=tmp_path / "new cache").like(image)
        assert before

    @pytest.mark.usefixtures("have")
    def test_a_flipped_bit_in_any_file_is_found_and_named_and_readers_refuse_it(self, lake: Lake) -> None:
        of_part = {part.key: part for part in parts_of(lake)}
        seen: set[str] = set()
        for root, store in (("lake", lake.store), ("phi", lake.phi)):
            for blob in list(store.scan()):
                whole = store.read(blob.key)
                for at in (0, len(whole) // 3, len(whole) - 1):
                    store.write(blob.key, flipped(whole, at))
                    found = {(problem.root, problem.key) for problem in verify(lake).problems}
                    assert (root, blob.key) in found, f"{blob.key} at byte {at}"
                    with pytest.raises(InputError):
                        use(lake, blob.key, of_part)
                store.write(blob.key, whole)
                seen.add(kind_of(blob.key))
        assert seen == {"ref", "manifest", "receipt", "parquet", "faiss", "safetensors"}
        assert verify(lake, everything=True).problems == []


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def kind_of(key: str) -> str:
    if REF.match(key):
        return "ref"
    return "manifest" if MANIFEST.match(key) else "receipt" if RECEIPT.match(key) else key.rsplit(".", 1)[1]


def use(lake: Lake, key: str, of_part: dict[str, Part]) -> None:
    """Read what is under a key as the program does."""
    if key in of_part:
        lake.read(of_part[key])
    elif ref := REF.match(key):
        refs.at(lake.store, ref["name"], int(ref["number"]))
    else:
        read_record(lake.store, key, Receipt if RECEIPT.match(key) else Manifest)


def parts_of(lake: Lake) -> Iterator:
    for blob in lake.store.scan():
        if MANIFEST.match(blob.key):
            yield from read_record(lake.store, blob.key, Manifest).parts


class TestVerifyOnDisk(VerifyContract):
    @pytest.fixture
    def lake(self, tmp_path: Path) -> Lake:
        return Lake(LocalStore(tmp_path / "lake"), LocalStore(tmp_path / "phi", 0o700))

    @pytest.mark.usefixtures("have")
    def test_a_phi_root_that_others_may_enter_is_named(self, lake: Lake, tmp_path: Path) -> None:
        (tmp_path / "phi").chmod(0o750)
        (problem,) = verify(lake).problems
        assert (problem.root, problem.remedy) == ("phi", "chmod 700 it")


class TestVerifyInMemory(VerifyContract):
    @pytest.fixture
    def lake(self) -> Lake:
        return Lake(MemoryStore(), MemoryStore())


def test_a_flip_of_any_bit_of_a_record_breaks_its_seal_or_its_form() -> None:
    store = MemoryStore()
    record = seal(Ref(kind="codes", recipe="r" * 32, artifact="a" * 32), "0123456789abcdef" * 2)
    assert sealed(record)
    for at in range(len(record)):
        for bit in range(8):
            store.write("refs/x/1.json", record[:at] + bytes([record[at] ^ 1 << bit]) + record[at + 1 :])
            with pytest.raises(InputError):
                refs.at(store, "x", 1)


def test_a_record_without_a_seal_is_still_read() -> None:
    store = MemoryStore()
    store.write("refs/x/1.json", b'{"artifact":"a","kind":"codes","nonce":"' + b"0" * 32 + b'","recipe":"r"}')
    assert refs.at(store, "x", 1).artifact == "a"


def test_a_whole_record_with_unknown_fields_is_of_another_version_and_no_damage() -> None:
    class Later(Ref):
        since: int = 0

    store = MemoryStore()
    store.write("refs/x/1.json", seal(Later(kind="codes", recipe="r", artifact="a"), "0" * 32))
    with pytest.raises(InputError, match="another version"):
        refs.at(store, "x", 1)
