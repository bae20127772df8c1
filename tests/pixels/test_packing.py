"""What is mined or trained from packed pixels is what the films themselves give, to the byte."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from neuroconcepts_ray.catalog.films import Films
from neuroconcepts_ray.catalog.sources import read_source
from neuroconcepts_ray.catalog.tables import load_sources
from neuroconcepts_ray.classifier import job as training
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.films import load_films, load_packed_films
from neuroconcepts_ray.classifier.model import load_classifier
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import DigestError, InputError
from neuroconcepts_ray.imaging.config import PixelConfig
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest, Part
from neuroconcepts_ray.pixels import config as pixels_config
from neuroconcepts_ray.pixels.packed import find_packed, load_packed, read_part
from neuroconcepts_ray.pixels.shards import image_shards
from tests.activations.conftest import World
from tests.pixels.conftest import COMPUTE

IDS = [f"i{number:02}" for number in range(12)]
BAD = {IDS[2]: b"\x89PNG\r\n\x1a\nno more", IDS[7]: b""}

Worlds = Callable[[str], World]
Pack = Callable[..., tuple[Manifest, list[str]]]
Mine = Callable[..., dict[str, Manifest]]


def damaged(world: Worlds, name: str) -> World:
    """Ten films in two partitions, one of each damaged."""
    one = world(name)
    for image_id, data in BAD.items():
        one.write(image_id, data)
    one.catalogue([IDS[:6], IDS[6:10]])
    return one


def said(manifests: dict[str, Manifest]) -> dict[str, Any]:
    """All that an artifact says: content, bytes of its parts, what is set aside, and by which arithmetic."""
    return {
        name: (m.content, [(p.name, p.sha256, p.rows) for p in m.parts], m.quarantined, m.profile)
        for name, m in manifests.items()
    }


@pytest.mark.parametrize(("packed", "mined"), [(4, 4), (3, 4), (4, 2), (100, 4), (1, 5)])
def test_mining_packed_pixels_gives_the_artifacts_of_mining_films_and_opens_no_film(
    world: Worlds, pack: Pack, mine: Mine, packed: int, mined: int
) -> None:
    raw, other = damaged(world, "raw"), damaged(world, "packed")
    expected = said(mine(raw, mined))
    manifest, _ = pack(other, packed)
    assert [(bad.image_id, bad.stage) for bad in manifest.quarantined] == [(one, "pixels") for one in BAD]
    shutil.rmtree(other.root)
    assert said(mine(other, mined)) == expected
    assert {bad.stage for bad in expected["activations.logits"][2]} == {"activations"}


def test_training_from_packed_pixels_has_the_bytes_of_films(world: Worlds, pack: Pack) -> None:
    one = damaged(world, "one")
    archive, sources = Films(one.lake, one.have["catalog"]), load_sources(one.lake, one.have["catalog"])
    pixels, rows = PixelConfig(size=32), [9, 2, 0, 7, 4, 5]
    films, causes = load_films(lambda row: read_source(str(one.root), sources[IDS[row]]), rows, pixels, 1)
    found = find_packed(pack(one, 3)[0], pixels, archive)
    assert found is not None
    same, because = load_packed_films(one.lake, found, np.array(IDS), rows, pixels, 2)
    assert same.tobytes() == films.tobytes()
    assert because == causes
    assert list(causes) == [1, 3]


def test_a_classifier_scored_on_packed_pixels_is_the_one_scored_on_films(
    world: Worlds, pack: Pack, tmp_path: Path
) -> None:
    one = damaged(world, "one")
    model = load_classifier(one.lake, one.have["classifier"])
    save_file({name: value.contiguous() for name, value in model.timm_state().items()}, tmp_path / "w.safetensors")
    card = model.card
    config = validate(
        ClassifierConfig,
        {
            "backbone": card.backbone,
            "backbone_kwargs": card.backbone_kwargs,
            "pixels": {"size": 32},
            "weights": str(tmp_path / "w.safetensors"),
            "threads": 1,
        },
    )
    made = []
    for packed in (False, True):
        if packed:
            one.lake.store.delete_tree("classifier")
            pack(one)
            shutil.rmtree(one.root)
        have = {name: manifest for name, manifest in one.have.items() if name != "classifier"}
        made.append(training.run(config, have, one.lake, COMPUTE, str(one.root)))
    assert said(made[0]) == said(made[1])


def test_of_a_grown_catalog_only_new_films_are_packed(world: Worlds, pack: Pack, mine: Mine) -> None:
    one = world("one")
    one.catalogue([IDS[:6], IDS[6:10]])
    before, first = pack(one)
    one.catalogue([IDS[:6], IDS[6:10], IDS[10:]])
    after, seen = pack(one)
    assert (first, seen) == (IDS[:10], IDS[10:])
    assert after.parts[: len(before.parts)] == before.parts
    assert pack(one)[1] == []
    shutil.rmtree(one.root)
    assert mine(one)["activations.logits"].images == 12


def test_an_interrupted_packing_continues_with_the_shards_that_lack_a_receipt(world: Worlds, pack: Pack) -> None:
    one = damaged(world, "one")
    made, _ = pack(one)
    one.lake.store.delete(f"pixels/{made.recipe}/{made.artifact}.json")
    one.lake.store.delete(f"pixels/{made.recipe}/receipts/{made.parts[1].shard}.json")
    again, seen = pack(one)
    assert seen == IDS[4:6]
    assert again.content == made.content


def test_pixels_lie_below_the_phi_root(world: Worlds, pack: Pack) -> None:
    one = damaged(world, "one")
    made, _ = pack(one)
    assert {part.root for part in made.parts} == {"phi"}
    assert not [key for key in one.lake.store.list("pixels") if "/parts/" in key]


def test_pixels_that_fit_no_network_are_not_read_and_it_is_said(
    world: Worlds, pack: Pack, mine: Mine, capfd: pytest.CaptureFixture[str]
) -> None:
    raw, other = damaged(world, "raw"), damaged(world, "other")
    expected = said(mine(raw))
    pack(other, size=16)
    assert said(mine(other)) == expected
    assert "packed for another geometry" in capfd.readouterr().err


def test_pixels_of_another_catalog_or_another_decoder_are_not_read(
    world: Worlds, pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = damaged(world, "one")
    made, _ = pack(one)
    pixels = PixelConfig(size=32)

    def found() -> object:
        return find_packed(made, pixels, Films(one.lake, one.have["catalog"]))

    assert found() is not None
    one.catalogue([IDS[:5], IDS[5:10]])
    assert found() is None
    other = world("other")
    other.write(IDS[0], (one.root / f"{IDS[1]}.png").read_bytes())
    other.catalogue([IDS[:6], IDS[6:10]])
    one.have, one.lake = other.have, other.lake
    assert found() is None
    assert pixels_config.fits(made, pixels)
    monkeypatch.setattr(pixels_config, "DECODING", pixels_config.DECODING + 1)
    assert not pixels_config.fits(made, pixels)


def test_what_decoded_the_pixels_stands_in_the_profile_of_what_is_mined(
    world: Worlds, pack: Pack, mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = damaged(world, "one")
    monkeypatch.setattr("neuroconcepts_ray.pixels.packer.version", lambda _: "1.1")
    pack(one)
    assert {manifest.profile["pillow"] for manifest in mine(one).values()} == {"1.1"}


def test_altered_pixels_are_refused_and_a_lost_image_is_no_quarantine(world: Worlds, pack: Pack, mine: Mine) -> None:
    one = damaged(world, "one")
    made, _ = pack(one)
    one.have["pixels"] = made.model_copy(update={"quarantined": []})
    with pytest.raises(InputError, match=f"lack an image.*{IDS[2]}"):
        mine(one)
    one.have["pixels"] = made
    path = one.lake.phi.local_path(made.parts[0].key)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DigestError, match="altered"):
        mine(one)


def test_a_row_that_is_masked_is_passed_over_as_it_is_among_films(world: Worlds, pack: Pack) -> None:
    one = world("one")
    one.catalogue([IDS])
    made, _ = pack(one, 12)
    films = Films(one.lake, one.have["catalog"])
    packed = find_packed(made, PixelConfig(size=32), films)
    assert packed is not None
    (shard,) = image_shards(films, "r", PixelConfig(size=32), 12)
    spec = {"lake": one.lake.store.uri, "phi": one.lake.phi.uri, "packed": packed.spec([shard])}
    whole, some = (load_packed(which, spec, "s") for which in (shard, shard.without([3, 7])))
    assert some.kept == [row for row in range(12) if row not in (3, 7)]
    np.testing.assert_array_equal(some.array, whole.array[some.kept])


def test_a_part_that_cannot_be_read_at_once_is_read_again(
    world: Worlds, pack: Pack, mine: Mine, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = damaged(world, "one")
    pack(one)
    tries: list[str] = []

    def read(lake: Lake, part: Part) -> Any:
        tries.append(part.name)
        if len(tries) == 1:
            raise OSError(5, "Input/output error")
        return read_part(lake, part)

    monkeypatch.setattr("neuroconcepts_ray.pixels.packed.read_part", read)
    assert mine(one)["activations.logits"].images == 8
    assert tries[0] == tries[1]
    assert len(tries) == len(set(tries)) + 1


@pytest.mark.parametrize(("folder", "pattern"), [("mimic_cxr_jpg", "*.jpg"), ("full_size", "*"), ("dicom", "*.dcm")])
def test_real_films_packed_are_real_films_decoded(
    shared_data: Path, world: Worlds, pack: Pack, folder: str, pattern: str
) -> None:
    one = world("one")
    films = [path for path in sorted((shared_data / folder).rglob(pattern)) if path.is_file()]
    films = films[:: max(1, len(films) // 10)]
    ids = [f"r{number}" for number in range(len(films))]
    for image_id, film in zip(ids, films, strict=True):
        one.write(image_id, film.read_bytes())
    one.catalogue([ids])
    geometry = PixelConfig(size=64)
    rows = list(range(len(ids)))
    raw, causes = load_films(lambda row: films[row].read_bytes(), rows, geometry, 2)
    made, _ = pack(one, 4, size=64)
    found = find_packed(made, geometry, Films(one.lake, one.have["catalog"]))
    assert found is not None
    packed, because = load_packed_films(one.lake, found, np.array(ids), rows, geometry, 1)
    assert packed.tobytes() == raw.tobytes()
    assert because == causes
    assert sum(len(read_part(one.lake, part)[0]) for part in made.parts) == len(ids) - len(causes)
    assert len(causes) < len(ids)
    assert np.ptp(packed) > 100
