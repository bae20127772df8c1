"""A film shows what was planted, where the mask says, at any size."""

import io
import time

import numpy as np
import pytest
from PIL import Image

from neuroconcepts_ray.phantom.config import PhantomConfig
from neuroconcepts_ray.phantom.draw import FINDINGS, Film, Finding, Patient, Study, draw_patient
from neuroconcepts_ray.phantom.films import render

CONFIG = PhantomConfig(seed=11)
SIDED = {"Lung Lesion", "Consolidation", "Pneumothorax", "Pleural Effusion", "Atelectasis"}


def planted(name: str, side: str = "", key: int = 5, config: PhantomConfig = CONFIG) -> tuple[Patient, Study, Film]:
    patient = draw_patient(config, 0)
    zone = {"Pneumothorax": "upper", "Pleural Effusion": "lower", "Atelectasis": "lower"}.get(name, "mid")
    side = side or ("bilateral" if name == "Edema" else "left" if name in SIDED else "")
    finding = () if not name else (Finding(name, side, zone, 0.6, key),)
    film = Film("x", "PA", (0, 0, 0))
    return patient, Study(1, 0, "21100101", "0.0", finding, (film,)), film


@pytest.mark.parametrize("view", ["AP", "PA", "LATERAL"])
@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_changes_the_film_where_its_mask_lies_and_hardly_elsewhere(name: str, view: str) -> None:
    patient, study, film = planted(name)
    film = Film("x", view, film.key)
    with_it, masks = render(CONFIG, patient, study, film)
    without, none = render(CONFIG, patient, planted("")[1], film)
    assert none == {}
    change = np.abs(with_it.astype(int) - without.astype(int))
    mask = masks[name]
    assert change[mask].mean() > 6
    assert change[mask].mean() > 4 * change[~mask].mean()


@pytest.mark.parametrize("name", sorted(SIDED))
def test_the_left_of_the_patient_is_the_right_of_the_film(name: str) -> None:
    centres = {}
    for side in ("left", "right"):
        _, masks = render(CONFIG, *planted(name, side))
        centres[side] = np.argwhere(masks[name]).mean(axis=0)[1]
    assert centres["left"] > CONFIG.width / 2 > centres["right"]


def test_a_film_can_be_drawn_again_byte_for_byte_and_findings_do_not_move_the_pose() -> None:
    first, _ = render(CONFIG, *planted("Lung Lesion"))
    again, _ = render(CONFIG, *planted("Lung Lesion"))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 200), (200, 64)])
def test_any_shape_works(height: int, width: int) -> None:
    config = CONFIG.model_copy(update={"height": height, "width": width})
    for index in range(6):
        patient = draw_patient(config, index)
        for study in patient.studies:
            for film in study.films:
                image, masks = render(config, patient, study, film)
                assert image.shape == (height, width)
                assert image.dtype == np.uint8
                assert set(masks) == {finding.name for finding in study.findings}


def test_a_film_of_full_size_is_as_heavy_as_a_real_one_and_shows_the_same_chest() -> None:
    large = CONFIG.model_copy(update={"height": 3056, "width": 2544})
    image, masks = render(large, *planted("Consolidation", config=large))
    assert image.shape == (3056, 2544)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=95)
    assert 0.8e6 < buffer.tell() < 4e6
    small, small_masks = render(CONFIG, *planted("Consolidation"))
    shrunk = np.asarray(Image.fromarray(image).resize((CONFIG.width, CONFIG.height), Image.Resampling.BOX), float)
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9
    assert masks["Consolidation"].mean() == pytest.approx(small_masks["Consolidation"].mean(), rel=0.3)


def test_a_film_is_drawn_in_milliseconds() -> None:
    patient, study, film = planted("Edema")
    render(CONFIG, patient, study, film)
    start = time.process_time()
    for _ in range(20):
        render(CONFIG, patient, study, film)
    assert (time.process_time() - start) / 20 < 0.03
