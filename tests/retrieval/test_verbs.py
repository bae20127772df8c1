"""The verbs of retrieval as a user runs them on a finished chain."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from neuroconcepts_ray.cli.main import call
from tests.conftest import Chain, Resident


class Asker:
    """Runs verbs in this process, for they are asked often."""

    def __init__(self, chain: Chain, capfd: pytest.CaptureFixture[str]) -> None:
        self.chain, self.capfd = chain, capfd

    def __call__(self, *args: object, code: int = 0) -> str:
        assert call([*map(str, args), "-c", str(self.chain.file)]) == code
        return self.capfd.readouterr().out

    def json(self, *args: object) -> Any:
        return json.loads(self(*args, "--json"))


@pytest.fixture
def ask(chain: Chain, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Asker:
    return Asker(chain.clone(tmp_path), capfd)


def an_image(chain: Chain) -> str:
    return next((chain.archive / "archive").rglob("*.jpg")).stem


def test_the_algebra_is_there_on_the_command_line(ask: Asker) -> None:
    image = an_image(ask.chain)
    hit = ask.json("search", "--like", image)["hits"][0]
    j = hit["shared"][0]["neuron"]
    only = ask.json("search", "--like", image, "--all-of", f"{j}>=0.0", "--where", "view=PA", "--where", "view=AP")
    assert all(j in {one["neuron"] for one in found["shared"]} for found in only["hits"])
    assert {found["view"] for found in only["hits"]} <= {"PA", "AP"}
    free = ask.json("search", "--like", image, "--without", j, "--weighting", "idf")
    assert str(j) not in free["asked"]
    assert not {one["neuron"] for found in free["hits"] for one in found["shared"]} & {j}
    barred = ask.json("search", "--like", image, "--none-of", j)["hits"]
    assert not {found["image_id"] for found in barred} & {found["image_id"] for found in only["hits"]}
    labelled = ask.json("search", "--any-of", j, "--where", "label:Edema=1", "--top", 500)["hits"]
    every = ask.json("search", "--any-of", j, "--top", 500)["hits"]
    assert {found["image_id"] for found in labelled} < {found["image_id"] for found in every}


def test_an_uploaded_film_of_the_archive_finds_itself_and_says_whether_it_is_far(ask: Asker, tmp_path: Path) -> None:
    film = next((ask.chain.archive / "archive").rglob("*.jpg"))
    found = ask.json("search", "--upload", film)
    assert found["hits"][0]["image_id"] == film.stem
    assert found["uploaded"]["far"] in (True, False)
    junk = tmp_path / "junk.jpg"
    junk.write_bytes(b"no film")
    ask("search", "--upload", junk, code=3)


def test_maps_of_what_hits_share_are_written_beside_the_answer(ask: Asker, tmp_path: Path) -> None:
    image = an_image(ask.chain)
    found = ask.json("search", "--like", image, "--top", 2, "--maps", tmp_path / "maps")
    assert [entry["hit"]["image_id"] for entry in found["maps"]] == [hit["image_id"] for hit in found["hits"]]
    for entry in found["maps"]:
        for side in ("query", "hit"):
            assert (tmp_path / "maps" / entry[side]["file"]).read_bytes().startswith(b"\x89PNG")
    assert ask.json("search", "--like", image, "--space", "units", "--dense")["hits"]


def test_removed_patients_are_gone_until_they_are_added_and_stats_say_so(ask: Asker) -> None:
    image = an_image(ask.chain)
    before = ask.json("index", "stats")
    best = ask.json("search", "--like", image)["hits"][0]["image_id"]
    said = ask("index", "remove", best, "--whole", "group")
    after = ask.json("index", "stats")
    removed = int(re.search(r"(\d+) are removed", said).group(1))  # type: ignore[union-attr]
    assert (after["images"], after["tombstones"]) == (before["images"] - removed, removed)
    assert removed >= 1
    assert best not in {hit["image_id"] for hit in ask.json("search", "--like", image, "--top", 500)["hits"]}
    ask("index", "add", best)
    assert ask.json("search", "--like", image)["hits"][0]["image_id"] == best
    ask("index", "remove", best)
    kept = ask.json("search", "--like", image, "--top", 500)["hits"]
    ask("index", "compact")
    assert ask.json("search", "--like", image, "--top", 500)["hits"] == kept
    assert ask.json("index", "stats")["tombstones"] == 0
    assert len(ask.json("index", "stats")["segments"]) == 1


def test_the_neighbours_of_a_role_are_those_of_search_and_a_second_run_does_nothing(
    resident: Resident, ask: Asker
) -> None:
    said = resident("neighbours", "-c", ask.chain.file, "--role", "test", "--top", "5").out
    files = [line for line in said.splitlines() if line.endswith(".parquet")]
    rows = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert rows
    for row in rows[:5]:
        hits = ask.json("search", "--like", row["image_id"], "--top", 5)["hits"]
        assert row["neighbours"] == [hit["image_id"] for hit in hits]
        assert row["scores"] == [hit["score"] for hit in hits]
    parts = sorted(ask.chain.lake.glob("neighbours/*/parts/*"))
    assert resident("neighbours", "-c", ask.chain.file, "--role", "test", "--top", "5").out == said
    assert sorted(ask.chain.lake.glob("neighbours/*/parts/*")) == parts
