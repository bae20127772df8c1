"""Copies of a film are known again however they were saved; films of other patients are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from neuroconcepts_ray.catalog import twins
from neuroconcepts_ray.catalog.looks import Look, details, likeness, look, words
from neuroconcepts_ray.catalog.seen import CHUNK, Seen, Twin
from neuroconcepts_ray.catalog.trees import Entry, open_tree
from neuroconcepts_ray.errors import EnvironmentFault, InputError
from neuroconcepts_ray.lake.recipe import sha256
from neuroconcepts_ray.lake.store import MemoryStore

from .conftest import chest


def jpeg(image: Image.Image, quality: int = 90) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=quality)
    return sink.getvalue()


def png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def cropped(image: Image.Image, share: float) -> Image.Image:
    width, height = image.size
    return image.crop((int(width * share), int(height * share), int(width * (1 - share)), int(height * (1 - share))))


def turned(image: Image.Image) -> bytes:
    """Stored on its side, with the tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    sink = io.BytesIO()
    image.transpose(Image.Transpose.ROTATE_90).save(sink, "JPEG", quality=90, exif=exif)
    return sink.getvalue()


COPIES = {
    "compressed harder": lambda film: jpeg(film, 40),
    "as PNG": png,
    "in colour": lambda film: jpeg(film.convert("RGB")),
    "at half the size": lambda film: jpeg(film.resize((film.width // 2, film.height // 2))),
    "as a square": lambda film: jpeg(film.resize((224, 224))),
    "brighter": lambda film: jpeg(ImageEnhance.Brightness(film).enhance(1.2)),
    "darker": lambda film: jpeg(ImageEnhance.Brightness(film).enhance(0.8)),
    "with more contrast": lambda film: jpeg(ImageEnhance.Contrast(film).enhance(1.3)),
    "cropped by one hundredth at each side": lambda film: jpeg(cropped(film, 0.01)),
    "on its side, with the tag": turned,
}

OTHERS = {"mirrored": ImageOps.mirror, "inverted": ImageOps.invert}


def alike(a: Look | None, b: Look | None) -> bool:
    assert a is not None and b is not None
    pair = twins.near(words(a.hash[None]), words(b.hash[None]))
    return bool(len(pair)) and likeness(details(a.thumb), details(b.thumb)) >= twins.ALIKE


@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_is_known_again(copy: str) -> None:
    for number in range(6):
        film = chest(number)
        assert alike(look(jpeg(film)), look(COPIES[copy](film))), number


@pytest.mark.parametrize("other", OTHERS)
def test_a_mirrored_or_inverted_film_is_another_one(other: str) -> None:
    assert not any(alike(look(jpeg(chest(n))), look(jpeg(OTHERS[other](chest(n))))) for n in range(6))


def test_no_two_patients_of_the_phantom_are_taken_for_one() -> None:
    looks = [one for number in range(40) if (one := look(jpeg(chest(number)))) is not None]
    hashes = words(np.stack([one.hash for one in looks]))
    pairs = twins.near(hashes, hashes, most=96)
    assert len(pairs) > 2 * len(looks)  # chests look alike: there is something to refuse
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    thumbs = np.stack([one.thumb for one in looks])
    assert twins.confirm(pairs, lambda films: thumbs[list(films)]) == []


@pytest.mark.parametrize("data", [b"", b"no film", jpeg(Image.new("L", (300, 300), 40)), jpeg(chest(0))[:200]])
def test_what_cannot_be_decoded_or_shows_nothing_has_no_look(data: bytes) -> None:
    assert look(data) is None


@given(st.integers(1, 70), st.integers(0, 5), st.sampled_from([0, 8, 48, 90]))
def test_near_finds_exactly_the_pairs_within_the_distance(n: int, seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2, (1, 256)) ^ (rng.random((n, 256)) < rng.choice([0, 0.02, 0.15, 0.5], (n, 1)))
    naive = [
        (i, j, int((bits[i] != bits[j]).sum()))
        for i in range(n)
        for j in range(n)
        if (bits[i] != bits[j]).sum() <= most
    ]
    hashes = words(np.packbits(bits.astype(bool), axis=1))
    assert list(map(tuple, twins.near(hashes, hashes, most, crowd=n).tolist())) == naive


def test_near_keeps_the_nearest_of_a_crowd() -> None:
    bits = np.tri(40, 256, k=-1, dtype=bool)  # film k differs from film 0 in k bits
    hashes = words(np.packbits(bits, axis=1))
    assert twins.near(hashes[:1], hashes, crowd=5)[:, 1].tolist() == [0, 1, 2, 3, 4]


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=20))
def test_clusters_are_the_classes_of_reachability(n: int, pairs: list[tuple[int, int]]) -> None:
    pairs = [(a, b) for a, b in pairs if a < n and b < n]
    reach = np.eye(n, dtype=int)
    for a, b in pairs:
        reach[a, b] = reach[b, a] = 1
    reach = np.linalg.matrix_power(reach, n).astype(bool) if n > 1 else reach.astype(bool)
    found = twins.clusters(n, pairs)
    assert np.array_equal(found[:, None] == found[None], reach)


def test_likeness_is_one_of_a_film_with_itself_and_with_its_shifted_self() -> None:
    one = look(jpeg(chest(3)))
    assert one is not None
    assert likeness(details(one.thumb), details(one.thumb)) == pytest.approx(1)
    shifted = look(jpeg(chest(3).crop((0, 0, 195, 256))))  # 2.5 % off one side
    assert shifted is not None
    assert likeness(details(one.thumb), details(shifted.thumb), enough=1.0) > 0.96


class Archive:
    """Films on disk by their digest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, Entry] = {}

    def add(self, data: bytes) -> str:
        digest = sha256(data)
        (self.root / f"{digest}.jpg").write_bytes(data)
        self.files[digest] = Entry(f"{digest}.jpg", len(data), "")
        return digest

    def look(self, phi: MemoryStore, read: list[str] | None = None) -> list[Twin]:
        seen = Seen(phi, "catalog-x")
        tree = open_tree(str(self.root))
        known = seen.known
        if read is not None:
            read += sorted(self.files.keys() - known)
        seen.look_at(tree, self.files, lambda _: None)
        return seen.compare()


def test_each_film_is_looked_at_once_and_each_two_are_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, phi, read = Archive(tmp_path), MemoryStore("memory://phi"), list[str]()
    first = {archive.add(jpeg(chest(number))) for number in range(8)}
    assert archive.look(phi, read) == []
    copy = archive.add(jpeg(chest(2), 60))
    found = archive.look(phi, read)
    assert sorted(read) == sorted([*first, copy])
    original = sha256(jpeg(chest(2)))
    assert [{twin.a, twin.b} for twin in found] == [{original, copy}]

    def never(*_: object) -> None:
        raise AssertionError("compared twice")

    monkeypatch.setattr(twins, "near", never)
    assert archive.look(phi) == found


def test_twins_do_not_depend_on_when_their_films_came(tmp_path: Path) -> None:
    films = [jpeg(chest(number % 5), 50 + 10 * (number // 5)) for number in range(15)]
    told = []
    for name, order in (("a", films), ("b", films[::-1])):
        (tmp_path / name).mkdir()
        archive, phi = Archive(tmp_path / name), MemoryStore("memory://phi")
        for batch in (order[:4], order[4:5], order[5:]):
            for data in batch:
                archive.add(data)
            found = archive.look(phi)
        told.append(sorted((twin.a, twin.b, twin.distance, twin.likeness) for twin in found))
    assert told[0] == told[1]
    assert len(told[0]) == 15  # of five films, three copies each
    assert CHUNK > 15


def test_what_is_not_kept_leaves_no_look_and_no_twin(tmp_path: Path) -> None:
    archive, phi = Archive(tmp_path), MemoryStore("memory://phi")
    a, b = archive.add(jpeg(chest(1))), archive.add(jpeg(chest(1), 60))
    archive.add(jpeg(chest(2)))
    assert len(archive.look(phi)) == 1
    seen = Seen(phi, "catalog-x")
    seen.keep(seen.known - {b})
    assert b not in Seen(phi, "catalog-x").known
    assert a in Seen(phi, "catalog-x").known
    assert Seen(phi, "catalog-x").compare() == []
    assert all(b.encode() not in phi.read(key) for key in phi.list("catalog"))


def test_a_film_that_changed_since_it_was_hashed_is_not_looked_at(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    digest = archive.add(jpeg(chest(1)))
    (tmp_path / f"{digest}.jpg").write_bytes(jpeg(chest(2)))
    with pytest.raises(EnvironmentFault, match="changed") as caught:
        archive.look(MemoryStore("memory://phi"))
    assert digest not in caught.value.message


def test_a_night_of_which_nothing_is_left_is_compared_with_no_more(tmp_path: Path) -> None:
    archive, phi = Archive(tmp_path), MemoryStore("memory://phi")
    archive.add(jpeg(chest(1)))
    archive.look(phi)
    gone = archive.add(jpeg(chest(2)))
    archive.look(phi)
    seen = Seen(phi, "catalog-x")
    seen.keep(seen.known - {gone})
    (tmp_path / f"{gone}.jpg").unlink()
    archive.files.pop(gone)
    archive.add(jpeg(chest(1), 60))
    assert len(archive.look(phi)) == 1


@pytest.mark.parametrize("folder", ["looks", "thumbs", "twins"])
def test_a_damaged_memory_is_named_with_what_to_remove_and_then_made_anew(tmp_path: Path, folder: str) -> None:
    archive, phi = Archive(tmp_path), MemoryStore("memory://phi")
    archive.add(jpeg(chest(1)))
    archive.look(phi)
    (key,) = phi.list(f"catalog/catalog-x/{folder}")
    phi.write(key, phi.read(key)[:-20])
    archive.add(jpeg(chest(1), 60))
    with pytest.raises(InputError, match=r"damaged.*Remove catalog/catalog-x below phi_root") as caught:
        archive.look(phi)
    assert caught.value.where == key
    phi.delete_tree("catalog/catalog-x")
    assert len(archive.look(phi)) == 1
