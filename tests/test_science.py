"""The short form of `make science`: every figure of a finished chain, and a truth that no run could have read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from benchmarks import science_archives, science_seed, science_tables
from benchmarks.science_archives import PARTS, Part, phantom, pipeline_text, truth_root
from benchmarks.science_opened import METHODS, Opened, opened, read_films
from benchmarks.science_score import asked, chance, readers
from benchmarks.science_twins import abroad, toggled
from neuroconcepts_ray.activations.fresh import infer
from neuroconcepts_ray.phantom.scoring.truth import Truth, Twins, load_truth, load_twins
from neuroconcepts_ray.phantom.twins import TOGGLED
from neuroconcepts_ray.phantom.world import draw_world
from tests.conftest import Chain

SEED, LEAST = 5, 2


@pytest.fixture(scope="module")
def run(chain: Chain) -> Opened:
    return opened(chain.file)


@pytest.fixture(scope="module")
def known(truth: Path) -> Truth:
    return load_truth(truth)


@pytest.fixture(scope="module")
def figures(run: Opened, known: Truth, chain: Chain, truth: Path) -> dict[str, Any]:
    return {"seed": SEED} | science_seed.main(run, known, SEED, chain.archive / "twins", truth, LEAST)


def test_a_chain_runs_where_there_is_no_truth(chain: Chain, truth: Path) -> None:
    assert chain.status()["index.latents"]["state"] == "finished"
    assert not (chain.archive / "truth").exists()
    written = [path.name for root in (chain.archive, chain.folder) for path in root.rglob("*")]
    assert not [name for name in written if "truth" in name]
    assert truth.is_dir()


def test_no_path_that_a_run_is_told_of_leads_to_the_truth(tmp_path: Path) -> None:
    for part in PARTS:
        told = yaml.safe_load(pipeline_text(SEED, part))
        paths = [told["lake"], told["phi_root"], *(told["catalog"][name] for name in ("root", "reports"))]
        hidden = truth_root(part.name, tmp_path)
        for path in paths:
            reached = (tmp_path / part.name / path).resolve()
            assert not hidden.is_relative_to(reached)
            assert not reached.is_relative_to(hidden)


def test_the_parts_of_a_seed_differ_only_in_what_they_are_for() -> None:
    main, away, random, others = (phantom(part, SEED, 600).model_dump() for part in PARTS)

    def differ(one: dict[str, Any]) -> set[str]:
        return {key for key in main if one[key] != main[key]} - {"twins"}

    assert differ(away) == {"patients", "first", "shortcuts"}
    assert away["first"] >= main["first"] + main["patients"]
    assert away["shortcuts"] < 0 < main["shortcuts"]
    assert differ(random) == {"patients", "labels"}
    assert differ(others) == {"reports"}


def test_every_figure_stands_beside_its_controls_and_the_report_says_so(figures: dict[str, Any]) -> None:
    json.dumps(figures, allow_nan=False)
    for against in ("labels", "truth"):
        assert set(figures["black_box"][against]) == {"black box", "refitted head", "linear on pixels"}
    for one in figures["recovery"]["questions"].values():
        assert set(one["methods"]) == set(METHODS)
    assert any(one["methods"]["latents"]["auroc"] is not None for one in figures["recovery"]["questions"].values())
    assert set(figures["twins"]["neurons"]["latents"]["each"]) == set(TOGGLED)
    assert set(figures["twins"]["reliance"]) == set(draw_world(SEED).ties)
    text = science_tables.report([figures])
    for word in (*METHODS, "refitted head", "linear on pixels", "What was asked", "Shortcut reliance", "right"):
        assert word in text


def test_where_controls_do_as_well_the_report_says_it() -> None:
    def cell(share: float) -> dict[str, Any]:
        return {"share": share, "low": share - 0.1, "high": share + 0.1}

    less = {"units": cell(-0.2), "PCA": cell(0.05), "random": cell(0.3)}
    question = {"kind": "labelled", "methods": {"latents": {"share": 0.5}, "random": {"share": 0.6}}}
    found = {
        "latents_less": {"labelled": less, "all unlabelled": {m: {"share": None} for m in less}},
        "questions": {"Edema": question},
    }
    margins = {"latents": 0.5, "units": 0.7, "PCA": 0.4, "random": 0.1}
    rights = {"latents": 0.8, "units": 0.7, "PCA": 0.9, "random": 0.7}
    twins = {
        m: {"means": {"labelled": {"margin": {"value": margins[m]}, "right": {"value": rights[m]}}}} for m in margins
    }
    assert science_tables.remarks({"recovery": found, "twins": {"neurons": twins}}) == [
        "Units recover more than latents of what is labelled.",
        "Principal components recover as much as latents of what is labelled: the interval holds 0.",
        "Random directions do as well as latents on 1 of 1 questions (labelled).",
        "Units answer twins as selectively as latents (labelled).",
        "Principal components move the right way on twins as often as latents (labelled).",
    ]


def test_films_outside_the_catalog_get_the_logits_that_their_like_have_inside(run: Opened) -> None:
    some = run.ids[:8].tolist()
    films = read_films(run.lake, run.have["catalog"], run.root, some)
    found = infer(run.lake, run.have, some, films)
    # Batches differ, and with them the last bits of bfloat16: films must differ by far more.
    apart = np.abs(run.logits[:8, None] - run.logits[None, :8]).max(axis=2)
    assert np.abs(found["logits"] - run.logits[:8]).max() < apart[~np.eye(8, dtype=bool)].min() / 2


def test_a_toggle_that_changes_nothing_moves_nothing(run: Opened, known: Truth, chain: Chain, truth: Path) -> None:
    twins = load_twins(truth)
    same = Twins(twins.factor, twins.without, twins.without)
    told = toggled(run, asked(run, known, LEAST), same, chain.archive / "twins", draw_world(SEED).ties)
    for one in told["logits"].values():
        assert (one["change"]["value"], one["right"]["value"]) == (0.0, 0.5)
    own = [one["own"]["value"] for method in told["neurons"].values() for one in method["each"].values() if one]
    assert own
    assert set(own) == {0.0}


def test_at_home_nothing_is_lost_abroad(run: Opened, known: Truth, chain: Chain) -> None:
    told = abroad(run, known, chain.file, known, draw_world(SEED).ties, LEAST)
    assert set(told["truth"]["each"]) <= {name for name in run.head.labels}
    for one in told["truth"]["each"].values():
        assert one["out"]["n"] == len(run.ids) > one["in"]["n"]
        assert one["drop"]["value"] == pytest.approx(one["in"]["auroc"] - one["out"]["auroc"])
    assert {"tied", "untied"} >= set(told["truth"]["mean_drop"])


def test_every_cell_of_a_null_archive_is_told(run: Opened) -> None:
    rows = chance(run, readers(run), LEAST)
    assert {(row["method"], row["label"]) for row in rows} == {
        (method, label)
        for method in ("black box", "refitted head", "linear on pixels", *METHODS)
        for label in run.head.labels
    }
    told = [row for row in rows if row["covers"] is not None]
    assert told
    assert all(row["covers"] == (row["low"] <= 0.5 <= row["high"]) for row in told)


def test_the_second_time_only_what_is_missing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    said: list[str] = []
    monkeypatch.setattr(science_archives, "run", lambda part, _work: ran.append(part.name))
    monkeypatch.setattr(science_archives, "finished", lambda part, _work: part.name in ran)
    monkeypatch.setattr(science_archives, "SHARES", {"height": 40, "width": 40, "processes": 1})
    monkeypatch.setattr(science_seed, "PARTS", (Part("main", {}), Part("random", {"labels": "random"}, 1 / 2)))
    for _ in range(2):
        science_seed.prepare(SEED, tmp_path, 2, [], lambda text, _cost: said.append(text))
    assert ran == ["main", "random"]
    told = [text for text in said if "run.log" not in text]
    assert ["was finished" in text for text in told] == [False, False, True, True]
    assert load_truth(truth_root("main", tmp_path)).image_ids.size > 0
