"""Each world speaks a part of the pool of wordings, and whatever it speaks is known to the key of meanings."""

import pytest

from neuroconcepts_ray.phantom.lexicon import draw_lexicon
from neuroconcepts_ray.phantom.meaning import denotes
from neuroconcepts_ray.phantom.wordings import DEVICE_WORDS, FRAMES, UNUSUAL, WORDINGS, Clause, Noun
from neuroconcepts_ray.phantom.world import draw_world


def filled(template: str) -> str:
    words = {"mild": "mild", "mildly": "mildly", "small": "small", "side": "left", "level": "upper", "s": ""}
    return template.format(**words, zone="upper lung", margin="spiculated", lump="nodule", displaced="displaced")


@pytest.mark.parametrize("name", list(WORDINGS))
def test_every_wording_of_the_pool_denotes_its_finding_and_no_other(name: str) -> None:
    for wording in (*WORDINGS[name], *([UNUSUAL[name]] if name in UNUSUAL else [])):
        assert denotes(filled(wording.full)) == {name: True}
        if isinstance(wording, Noun):
            assert denotes(wording.bare) == {name: True}
        else:
            assert set(denotes(wording.doubted)) == {name}
            assert set(denotes(wording.denied)) == {name}


def test_every_device_denotes_support_devices() -> None:
    nouns = [noun for options in DEVICE_WORDS.values() for noun in options]
    assert all(denotes(noun.full) == {"Support Devices": True} for noun in nouns)


@pytest.mark.parametrize("kind", [kind for kind in FRAMES if kind not in ("normal", "clear")])
def test_frames_denote_nothing(kind: str) -> None:
    for frame in FRAMES[kind]:
        assert denotes(frame.replace("{", " ").replace("}", " ")) == {}


def test_a_normal_chest_denotes_no_finding() -> None:
    for frame in (*FRAMES["normal"], *FRAMES["clear"]):
        assert set(denotes(frame)) == {"No Finding"}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("pleural effusion", {"Pleural Effusion": True}),
        ("heart enlarged", {"Cardiomegaly": True}),
        ("heart normal", {"Cardiomegaly": False}),
        ("blunting costophrenic angle", {"Pleural Effusion": True}),
        ("Lung nodule", {"Lung Lesion": True}),
        ("mediastinal contour is normal", {"Enlarged Cardiomediastinum": False}),
        ("lungs are clear", {"No Finding": True}),
        ("acute cardiopulmonary process", {"No Finding": False}),
        ("left", {}),
        ("mild", {}),
        ("pleural", {}),
        ("bony thorax", {}),
        ("heart size", {}),
        ("", {}),
    ],
)
def test_n_grams_denote_findings(words: str, meant: dict[str, bool]) -> None:
    assert denotes(words) == meant


def test_each_world_speaks_a_part_of_the_pool_and_no_two_the_same() -> None:
    spoken = []
    for seed in range(12):
        lexicon = draw_lexicon(draw_world(seed).words)
        for name, wordings in lexicon.wordings.items():
            assert set(wordings) < set(WORDINGS[name])
            assert sum(isinstance(wording, Noun) for wording in wordings) >= 2
            if any(isinstance(wording, Clause) for wording in WORDINGS[name]):
                assert any(isinstance(wording, Clause) for wording in wordings)
        spoken.append({name: frozenset(wordings) for name, wordings in lexicon.wordings.items()})
    for name in WORDINGS:
        assert len({words[name] for words in spoken}) > 2
    assert len({tuple(words.values()) for words in spoken}) == 12
