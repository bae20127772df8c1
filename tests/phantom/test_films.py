"""A film shows what was planted, where the mask says, at any size and in any world."""

import dataclasses
import time

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import FINDINGS, Film, Finding, Patient, Study, draw_patient
from neuroconcepts_ray.phantom.films import render
from neuroconcepts_ray.phantom.jpeg import encode, size_class
from neuroconcepts_ray.phantom.looks import Look, draw_look
from neuroconcepts_ray.phantom.truth import FACTORS, SPICULATED, TEXT
from neuroconcepts_ray.phantom.world import BELOW_NOISE, DEVICES, SHORTCUTS, UNREPORTED, draw_world

CONFIG = PhantomConfig(seed=11)
SIDED = {"Lung Lesion", "Consolidation", "Pneumothorax", "Pleural Effusion", "Atelectasis", "Pleural Other"}
SEEN = [name for name in FINDINGS if name not in BELOW_NOISE]
OTHERS = (*UNREPORTED, *SHORTCUTS)


def finding(name: str, side: str = "", key: int = 5) -> Finding:
    zone = {"Pneumothorax": "upper", "Pleural Effusion": "lower", "Atelectasis": "lower"}.get(name, "mid")
    if name in ("Cardiomegaly", "Enlarged Cardiomediastinum", "Support Devices"):
        side, zone = "", ""
    else:
        side = side or ("bilateral" if name == "Edema" else "left")
    margin = "spiculated" if name == "Lung Lesion" else ""
    devices = ("leads", "tube") if name == "Support Devices" else ()
    return Finding(name, side, zone, 0.6, key, 0.6, margin, devices)


def planted(
    *names: str, side: str = "", key: int = 5, config: PhantomConfig = CONFIG, view: str = "PA", text: bool = False
) -> tuple[Patient, Study, Film]:
    findings = tuple(finding(name, side, key) for name in names if name in FINDINGS)
    others = frozenset(name for name in names if name in OTHERS)
    film = Film("x", view, (0, 0, 0), text)
    return draw_patient(config, 0), Study(1, 0, "21100101", "0.0", findings, (film,), others), film


@pytest.mark.parametrize("view", ["AP", "PA", "LATERAL"])
@pytest.mark.parametrize("name", [*SEEN, *UNREPORTED, "Boxed Mark", "Drain", "Border", TEXT])
def test_a_factor_changes_the_film_where_its_mask_lies_and_hardly_elsewhere(name: str, view: str) -> None:
    with_it, masks = render(CONFIG, *planted(name, view=view, text=name == TEXT))
    without, none = render(CONFIG, *planted(view=view))
    assert none == {}
    change = np.abs(with_it.astype(int) - without.astype(int))
    mask = masks[name]
    assert change[mask].mean() > 6
    assert change[mask].mean() > 15 * change[~mask].mean()


def test_a_grain_lies_on_the_whole_film() -> None:
    with_it, masks = render(CONFIG, *planted("Grain"))
    without, _ = render(CONFIG, *planted())
    change = np.abs(with_it.astype(int) - without.astype(int))
    assert masks["Grain"].all()
    assert 1 < change.mean() < 8


def test_a_finding_below_the_noise_is_there_and_cannot_be_seen() -> None:
    without, _ = render(CONFIG, *planted())
    for key in range(10):
        with_it, masks = render(CONFIG, *planted("Fracture", key=key))
        change = with_it.astype(float) - without.astype(float)
        assert masks["Fracture"].any()
        assert not change[~masks["Fracture"]].any()
        # The noise between neighbours is many times what the finding takes away.
        noise = np.diff(without.astype(float), axis=1)[masks["Fracture"][:, 1:]].std()
        assert np.abs(change[masks["Fracture"]]).mean() < 0.35 * noise


def test_a_finding_grows_with_its_size_and_gets_denser_with_its_severity() -> None:
    patient, study, film = planted()
    without = render(CONFIG, patient, study, film)[0].astype(float)

    def area_and_change(name: str, size: float, severity: float) -> tuple[float, float]:
        one = dataclasses.replace(finding(name), size=size, severity=severity)
        image, masks = render(CONFIG, patient, dataclasses.replace(study, findings=(one,)), film)
        return float(masks[name].sum()), float(np.abs(image - without)[masks[name]].mean())

    for name in SEEN:
        if name not in ("Support Devices", "Edema"):
            assert area_and_change(name, 1.0, 0.5)[0] > 1.15 * area_and_change(name, 0.0, 0.5)[0], name
        if name != "Cardiomegaly":
            assert area_and_change(name, 0.5, 1.0)[1] > 1.05 * area_and_change(name, 0.5, 0.0)[1], name


@pytest.mark.parametrize("name", sorted(SIDED))
def test_the_left_of_the_patient_is_the_right_of_the_film(name: str) -> None:
    centres = {}
    for side in ("left", "right"):
        _, masks = render(CONFIG, *planted(name, side=side))
        centres[side] = np.argwhere(masks[name]).mean(axis=0)[1]
    assert centres["left"] > CONFIG.width / 2 > centres["right"]


def test_devices_are_those_that_the_finding_names_each_under_a_mask_of_its_own() -> None:
    patient, study, film = planted()
    for devices in [(device,) for device in DEVICES] + [("leads", "line", "tube")]:
        one = Finding("Support Devices", "", "", 0.5, 3, devices=devices)
        _, masks = render(CONFIG, patient, dataclasses.replace(study, findings=(one,)), film)
        assert set(masks) == {"Support Devices", *devices}
        np.testing.assert_array_equal(
            np.logical_or.reduce([masks[device] for device in devices]), masks["Support Devices"]
        )


def test_a_film_can_be_drawn_again_byte_for_byte() -> None:
    everything = planted(*FINDINGS, *OTHERS, text=True)
    first, masks = render(CONFIG, *everything)
    again, _ = render(CONFIG, *everything)
    np.testing.assert_array_equal(first, again)
    assert set(masks) == {*FINDINGS, *OTHERS, SPICULATED, "leads", "tube", TEXT}


def test_worlds_differ_in_every_measure_and_stay_within_its_bounds() -> None:
    looks = [draw_look(draw_world(seed).looks) for seed in range(10)]
    for part in dataclasses.fields(Look):
        low, high = part.metadata["bounds"]
        values = [getattr(look, part.name) for look in looks]
        assert len(set(values)) == len(looks)
        assert low <= min(values) < max(values) <= high
        assert max(values) - min(values) > 0.4 * (high - low)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 200), (200, 64)])
def test_any_shape_works(height: int, width: int) -> None:
    config = CONFIG.model_copy(update={"height": height, "width": width, "text": 1.0})
    seen = set()
    for index in range(8):
        patient = draw_patient(config, index)
        for study in patient.studies:
            for film in study.films:
                image, masks = render(config, patient, study, film)
                assert image.shape == (height, width)
                assert image.dtype == np.uint8
                assert {name for name in masks if FACTORS[name] == "finding"} == {f.name for f in study.findings}
                assert {name for name in masks if name in OTHERS} == study.others & set(OTHERS)
                seen |= set(masks)
    assert len(seen) > 20


def test_a_film_of_full_size_is_as_heavy_as_a_real_one_and_shows_the_same_chest() -> None:
    large = CONFIG.model_copy(update={"height": 3056, "width": 2544})
    image, masks = render(large, *planted("Consolidation", config=large))
    assert image.shape == (3056, 2544)
    data = encode(image, large.quality, (0, 0, 0))
    assert 1e6 < len(data) == size_class(3056, 2544, large.quality) < 2e6
    # The picture itself, too, is as heavy: it does not consist of filling.
    assert data.index(b"\xff\xfe") > 1e6
    small, small_masks = render(CONFIG, *planted("Consolidation"))
    shrunk = np.asarray(Image.fromarray(image).resize((CONFIG.width, CONFIG.height), Image.Resampling.BOX), float)
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9
    assert masks["Consolidation"].mean() == pytest.approx(small_masks["Consolidation"].mean(), rel=0.3)


def test_a_film_is_drawn_in_milliseconds() -> None:
    everything = planted(*FINDINGS, *OTHERS, text=True)
    render(CONFIG, *everything)
    start = time.process_time()
    for _ in range(20):
        render(CONFIG, *everything)
    assert (time.process_time() - start) / 20 < 0.04
