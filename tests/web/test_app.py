"""The interface: every route, every refusal in one form, and nothing that a caller sends is a fault of ours."""

import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from neuroconcepts_ray.errors import EnvironmentFault, InputError
from neuroconcepts_ray.lake.manifest import Manifest
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.query import Query
from neuroconcepts_ray.retrieval.ranking import Example
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.web.app import Serving, create_app
from neuroconcepts_ray.web.config import LARGEST_BODY, LARGEST_UPLOAD
from neuroconcepts_ray.web.models import Answer, Problem, answer_of
from tests.retrieval.model import NAMES, archive

P = "/api/v1"
A = archive(3)
SERVICE = SearchService(A.index((40,)), NAMES)
FIRES = [one for one in A.ids if A.dense[A.ids.index(one)].any()]


@dataclass(frozen=True)
class Encoded:
    example: Example
    far: bool
    distance: float
    threshold: float


class Encoder:
    """Takes a film that begins with OK; its code is that of the first image."""

    def encode(self, data: bytes) -> Encoded:
        if not data.startswith(b"OK"):
            raise InputError("the file cannot be decoded", remedy="Send a JPEG, PNG or DICOM file")
        (example,) = SERVICE.index.examples([FIRES[0]])
        return Encoded(Example("", example.neurons, example.values), True, 3.5, 2.0)


MANIFEST = Manifest(
    kind="index", name="index.latents", recipe="r", recipe_body={}, inputs={}, artifact="f" * 32, parts=[], content="c"
)
STATE = changes.State(MANIFEST, MANIFEST, (), 7)


def stats() -> dict[str, Any]:
    return changes.describe(SERVICE.index.statistics, [("a", 40, 0), ("b", 80, 0)], STATE)


def client(current: Any = None, **more: Any) -> TestClient:
    app = create_app(current or (lambda: Serving(SERVICE, 7, stats)), **more)
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def web() -> Iterator[TestClient]:
    with client(uploader=Encoder()) as made:
        yield made


def expected(**asked: Any) -> dict[str, Any]:
    answer = SERVICE.search(Query.model_validate_json(json.dumps(asked)))
    plain: dict[str, Any] = Answer.model_validate(answer_of(answer, 7)).model_dump(mode="json")
    return plain


def test_search_answers_as_the_service_does_with_shares_that_sum_to_the_score(web: TestClient) -> None:
    asked = {"like": FIRES[:2], "weighting": "idf", "where": {"view": ["PA"]}, "fold": 0.95, "top": 5}
    answer = web.post(P + "/search", json=asked)
    assert answer.status_code == 200
    assert answer.json() == expected(**asked)
    for hit in answer.json()["hits"]:
        assert sum(one["share"] for one in hit["shared"]) == pytest.approx(hit["score"], rel=1e-9)


def test_images_like_one_are_paged_filtered_and_never_of_the_same_patient(web: TestClient) -> None:
    answer = web.get(f"{P}/images/{FIRES[0]}/like", params={"top": 4, "offset": 2, "view": "PA"}).json()
    assert answer == expected(like=[FIRES[0]], top=4, offset=2, where={"view": ["PA"]})
    groups = dict(zip(A.ids, A.table["group"].to_pylist(), strict=True))
    assert groups[FIRES[0]] not in {groups[hit["image_id"]] for hit in answer["hits"]}


def test_names_lead_to_neurons_and_neurons_to_images(web: TestClient) -> None:
    found = web.get(P + "/concepts", params={"text": "effusion"}).json()
    assert [one["neuron"] for one in found["concepts"]] == [1, 4]
    assert found["concepts"][0]["auroc"] == 0.8
    every = web.get(P + "/concepts", params={"top": 1, "offset": 1}).json()
    assert every["total"] == 3
    assert [one["neuron"] for one in every["concepts"]] == [4]
    strongest = web.get(P + "/concepts/4", params={"top": 3}).json()
    assert strongest["concept"]["images"] == int((A.dense[:, 4] != 0).sum())
    assert strongest["answer"] == expected(any_of=[4], top=3)
    assert web.get(P + "/concepts/5").json()["concept"]["name"] is None


def test_an_uploaded_image_is_encoded_and_searched_in_one_call(web: TestClient) -> None:
    answer = web.post(P + "/search/upload", files={"file": b"OK film"}, data={"query": '{"top": 3}'}).json()
    assert (answer["far"], answer["distance"], answer["threshold"]) == (True, 3.5, 2.0)
    row = A.dense[A.ids.index(FIRES[0])]
    assert {int(j): z for j, z in answer["code"].items()} == {int(j): float(row[j]) for j in np.flatnonzero(row)}
    # The same code as that of an image of the index, but of nobody who would be excluded.
    assert answer["answer"]["hits"] == expected(like=[FIRES[0]], exclude="none", top=3)["hits"]


def test_stats_and_health_say_which_version_is_served(web: TestClient) -> None:
    said = web.get(P + "/stats").json()
    assert (said["images"], said["neurons"], said["version"]) == (120, 24, 7)
    assert web.get(P + "/health").json() == {"status": "ok", "version": 7}


@pytest.mark.parametrize(
    ("method", "path", "more", "status", "what"),
    [
        ("GET", "/images/imagE0001/like", {}, 404, "does not have this image"),
        ("GET", "/images/..%2f..%2fetc%2fpasswd/like", {}, 404, "does not have this image"),
        ("POST", "/search", {"json": {"like": ["nobody"]}}, 404, "does not have this image"),
        ("POST", "/search", {"json": {"any_of": ["efusion"]}}, 404, "no neuron has this name"),
        ("GET", "/concepts?text=efusion", {}, 404, "no neuron has this name"),
        ("GET", "/concepts/24", {}, 404, "no such neuron"),
        ("GET", "/concepts/one", {}, 422, "neuron"),
        ("POST", "/search", {"json": {}}, 422, "something to rank by"),
        ("POST", "/search", {"json": {"like": "x"}}, 422, "like"),
        ("POST", "/search", {"json": {"top": "5", "any_of": [1]}}, 422, "top"),
        ("POST", "/search", {"json": {"any_of": [1], "where": {"moon": ["full"]}}}, 422, "no such column"),
        ("POST", "/search", {"json": {"any_of": [1], "where": {"view": ["UP"]}}}, 422, "has this view"),
        ("POST", "/search", {"json": {"any_of": [1], "fold": 0.9, "top": 2000}}, 422, "folded page"),
        ("POST", "/search", {"content": b'{"any_of": [1], "boost": {"1": NaN}}'}, 422, "boost"),
        ("POST", "/search/upload", {"files": {"file": b"no film"}}, 422, "cannot be decoded"),
        ("POST", "/search/upload", {"content": b"no form"}, 422, "file"),
        ("POST", "/search", {"content": b" " * (LARGEST_BODY + 1)}, 413, "too large"),
        ("GET", "/nothing", {}, 404, "no such address"),
        ("GET", "/docs", {}, 404, "no such address"),
        ("DELETE", "/search", {}, 405, "does not take that method"),
    ],
)
def test_every_refusal_has_the_one_form_and_the_right_status(
    web: TestClient, method: str, path: str, more: dict[str, Any], status: int, what: str
) -> None:
    answer = web.request(method, P + path, **more)
    assert answer.status_code == status
    assert what in Problem.model_validate(answer.json()).what


def test_an_unknown_concept_is_answered_with_the_nearest_names(web: TestClient) -> None:
    said = web.get(P + "/concepts", params={"text": "plural efusion"}).json()
    assert "pleural effusion" in said["remedy"]


def test_a_body_without_a_length_is_cut_off_at_its_limit(web: TestClient) -> None:
    def chunks(limit: int) -> Iterator[bytes]:
        for _ in range(limit // (1 << 20) + 1):
            yield b" " * (1 << 20)

    assert web.post(P + "/search", content=chunks(LARGEST_BODY)).status_code == 413
    boundary = {"content-type": "multipart/form-data; boundary=b"}

    def form() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        yield from chunks(LARGEST_UPLOAD)

    assert web.post(P + "/search/upload", content=form(), headers=boundary).status_code == 413


def test_the_machines_own_failures_show_neither_values_nor_places() -> None:
    def broken() -> Serving:
        raise EnvironmentFault("the cache cannot be written", value="disk full", where="/home/someone/p1234")

    answer = client(broken).get(P + "/health")
    assert answer.status_code == 503
    assert answer.json()["what"] == "the cache cannot be written"
    assert "p1234" not in answer.text


def test_a_fault_of_ours_shows_no_insides_and_logs_its_place_alone(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Serving:
        raise KeyError("p1234")

    answer = client(broken).get(P + "/health")
    assert answer.status_code == 500
    assert answer.json()["what"] == "a fault of ours"
    assert "p1234" not in answer.text + caplog.text
    assert "KeyError in test_app.py" in caplog.text


def test_a_page_of_another_site_cannot_read_the_server_by_giving_it_its_own_name() -> None:
    web = client()
    assert web.get(P + "/health", headers={"host": "evil.example:8265"}).status_code == 400
    assert web.get(P + "/health", headers={"host": "localhost:8265"}).status_code == 200
    assert web.get(P + "/health", headers={"host": "[::1]:8265"}).status_code == 200
    assert client(hosts=None).get(P + "/health", headers={"host": "lab.example"}).status_code == 200


def test_the_interface_describes_itself_and_loads_nothing_from_elsewhere(web: TestClient) -> None:
    said = web.get(P + "/openapi.json").json()
    assert set(said["paths"]) == {
        P + path
        for path in (
            "/search",
            "/search/upload",
            "/images/{image_id}/like",
            "/concepts",
            "/concepts/{neuron}",
            "/stats",
            "/health",
        )
    }
    body = said["paths"][P + "/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == set(Query.model_fields)
    assert "$ref" not in json.dumps(body)
    assert "cdn" not in json.dumps(said)
    assert all(web.get(path).status_code == 404 for path in ("/docs", "/redoc", P + "/docs", "/openapi.json", "/"))


TEXTS = [
    "",
    "\x00",
    "a\x00b",
    "../../etc/passwd",
    "..\\..\\x",
    "%2e%2e/",
    "\ud800",
    "𝔘" * 50,
    "'; DROP TABLE images; --",
    "<script>",
    "x" * 300,
    "9" * 5000,
    "-1",
    "٣",
    "NaN",
    "image0001\r\nX: y",
    "{}",
    "${jndi:x}",
]
NUMBERS = [-1, 0, 2**31, 2**63, 2**64, -(2**70), 10**300, 1e308, -1e308, 1e-320, 0.5, float("nan"), float("inf")]


def junk(rng: random.Random, depth: int = 0) -> Any:
    """Any JSON, NaN and halves of surrogate pairs among it."""
    kind = rng.randrange(8 if depth < 3 else 5)
    if kind == 0:
        return rng.choice(TEXTS)
    if kind == 1:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice([None, True, False])
    if kind == 3:
        return "".join(rng.choices(string.printable, k=rng.randrange(12)))
    if kind == 4:
        return rng.choice([10**400, [], {}, [[]], -0.0])
    if kind == 5:
        return [junk(rng, depth + 1) for _ in range(rng.choice([1, 2, 3, 200]))]
    return {rng.choice([*Query.model_fields, *TEXTS[:9]]): junk(rng, depth + 1) for _ in range(rng.randrange(4))}


def malformed(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    """A request that no route can answer: its method, path and the rest."""
    kind = rng.randrange(12)
    text = rng.choice(TEXTS).encode("utf-8", "replace").decode()
    field = rng.choice(list(Query.model_fields))
    if kind == 0:  # a field of the wrong type, beside good ones
        wrong = {
            "like": [3, "x", [None], {}, [["a"]], ["x"] * 101],
            "unlike": [3, "x", [1.5], [True]],
            "all_of": [[1], "x", [{"concept": 1, "at_least": -1}], [{"concept": 1, "at_least": 1e300}], [{}], {}],
            "any_of": [3, [1.5], [None], [[]], [-1], [10**30], ["9" * 150], [2**64], [""], ["nothing so called"]],
            "none_of": [[1], [{"concept": "nothing"}], [{"concept": 1, "more": 2}]],
            "text": [3, None, [], "x" * 201, "nothing so called"],
            "without": [3, [{}], [10**9], ["nothing"]],
            "boost": [[], {"1": "x"}, {"1": 1e300}, {"nothing": 1.0}, {"9" * 199: 1.0}, {"1": None}],
            "weighting": ["IDF", "", None, 3, ["idf"]],
            "where": [[], {"view": "PA"}, {"view": [1]}, {"\x00": ["x"]}, {"image_id": ["x"]}, {"view": ["\x00"]}],
            "ids": [3, "x", [1], [None], ["x"] * 100_001],
            "exclude": ["", "patient", None, 3],
            "top": [0, -1, 10_001, 2**70, 1.5, "5", True, None, [1]],
            "offset": [-1, 10_001, 2**70, 0.5, "0", False],
            "fold": [0, 0.5, 1.5, -1, "0.9", True],
        }
        return "POST", "/search", {"json": {"any_of": [1], field: rng.choice(wrong[field])}}
    if kind == 1:  # not JSON, or not text
        body = json.dumps(junk(rng)).encode("utf-8", "replace")
        cut = body[: rng.randrange(len(body))] + rng.choice([b"\xff\xfe", b"{", b"\x00", b'"', b"]]]]", b"[" * 5000])
        return "POST", "/search", {"content": cut}
    if kind == 2:  # any JSON with a key that no question has
        raw = {"any_of": [1], "no such key": junk(rng)}
        return "POST", "/search", {"content": json.dumps(raw).encode("utf-8", "replace")}
    if kind == 3:  # JSON that is no object
        raw = junk(rng, 3)
        return "POST", "/search", {"content": json.dumps([raw, raw]).encode("utf-8", "replace")}
    if kind == 4:  # images that are not there
        from urllib.parse import quote

        return "GET", f"/images/{quote(text, safe='')}x/like", {"params": {"top": rng.choice([1, 20])}}
    if kind == 5:  # parameters out of range
        wrong_parameter = {
            "top": ["0", "-1", "1e3", "x", "9" * 400, "", "10001", "\x00"],
            "offset": ["-1", "x", "99999999999"],
            "exclude": ["", "x", "GROUP"],
            "weighting": ["", "x"],
            "view": ["SIDEWAYS", "\x00", "x" * 201],
            "role": ["nobody", "é" * 100],
        }
        name = rng.choice(list(wrong_parameter))
        return "GET", f"/images/{FIRES[0]}/like", {"params": {name: rng.choice(wrong_parameter[name])}}
    if kind == 6:
        return "GET", "/concepts", {"params": {"text": f"zzz{text}"}}
    if kind == 7:
        path = rng.choice(["-1", "x", "1.5", "99", "9" * 400, "%00", "..%2f1", "NaN", "٣٣٣", "1e2"])
        return "GET", f"/concepts/{path}", {}
    if kind == 8:
        method = rng.choice(["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
        return method, rng.choice(["/search", "/concepts", "/stats", "/health", "/search/upload"]), {}
    if kind == 9:  # forms that are none
        forms = [
            (b"x", "multipart/form-data; boundary=b"),
            (b"--b\r\n\r\nx", "multipart/form-data; boundary=b"),
            (
                b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nno file\r\n--b--\r\n',
                "multipart/form-data; boundary=b",
            ),
            (b"--b--", "multipart/form-data; boundary=b"),
            (b"x", "multipart/form-data"),
            (b"x", "multipart/form-data; boundary=" + "b" * 300),
            (b"file=x", "application/x-www-form-urlencoded"),
            (b"\x00\xff", "application/octet-stream"),
            (b"--b\r\n" * 3000, "multipart/form-data; boundary=b"),
            (
                b'--b\r\nContent-Disposition: form-data; name="\xff\x00"; filename="\x00"\r\n\r\nx\r\n--b--\r\n',
                "multipart/form-data; boundary=b",
            ),
        ]
        content, kind_of = rng.choice(forms)
        return "POST", "/search/upload", {"content": content, "headers": {"content-type": kind_of}}
    if kind == 10:  # films that are none, or a film with a wrong question
        if rng.random() < 0.5:
            return "POST", "/search/upload", {"files": {"file": (text or "x", rng.randbytes(rng.randrange(100)))}}
        wrong_question = json.dumps({"no such key": junk(rng)}).encode("utf-8", "replace").decode()
        return "POST", "/search/upload", {"files": {"file": b"OK"}, "data": {"query": wrong_question}}
    path = rng.choice(
        ["/", "//", "/search/", "/../api/v1/search/x", "/images//like/x", "/%00", "/concepts/1/2", "/.env"]
    )
    return "GET", path, {}


@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_malformed_requests_are_refused_and_none_is_a_fault_of_ours(web: TestClient, seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - examples, not secrets
    for _ in range(250):
        method, path, more = malformed(rng)
        answer = web.request(method, P + path, follow_redirects=False, **more)
        assert 400 <= answer.status_code < 500, (method, path, repr(more)[:500], answer.status_code, answer.text[:300])
        assert Problem.model_validate(answer.json()).what
        assert len(answer.content) < 4000
    assert web.get(P + "/health").status_code == 200


@pytest.mark.parametrize("seed", range(2))
def test_any_json_at_all_is_answered_or_refused_but_never_a_fault_of_ours(web: TestClient, seed: int) -> None:
    rng = random.Random(100 + seed)  # noqa: S311 - examples, not secrets
    for _ in range(250):
        raw = {rng.choice(list(Query.model_fields)): junk(rng) for _ in range(rng.randrange(1, 5))}
        if rng.random() < 0.5:
            raw["any_of"] = [1]
        answer = web.post(P + "/search", content=json.dumps(raw).encode("utf-8", "replace"))
        assert answer.status_code < 500, (repr(raw)[:500], answer.text[:300])
