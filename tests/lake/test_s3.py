"""The contract of a store on a real S3 server, also through a network that misbehaves; and what only S3 does wrong."""

import os
import pickle
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault
from neuroconcepts_ray.lake import client as s3_client
from neuroconcepts_ray.lake import s3 as s3_store
from neuroconcepts_ray.lake.commit import commit
from neuroconcepts_ray.lake.refs import Ref
from neuroconcepts_ray.lake.remote import arrow, filesystem
from neuroconcepts_ray.lake.s3 import S3Store
from neuroconcepts_ray.lake.store import open_store
from tests.contract.store import StoreContract
from tests.faultproxy import Fault, FaultProxy, Request, no_faults, shares
from tests.weed import BUCKET, Weed


@pytest.fixture
def at(weed: Weed) -> Any:
    """A fresh place: a function from an endpoint and further options to its URI."""
    prefix = uuid.uuid4().hex

    def uri(endpoint: str = weed.endpoint, **options: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"s3://{BUCKET}/{prefix}?endpoint={endpoint}" + (f"&{query}" if query else "")

    return uri


@pytest.fixture(scope="module")
def one_proxy(weed: Weed) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", weed.port) as made:
        yield made


@pytest.fixture
def proxy(one_proxy: FaultProxy) -> Iterator[FaultProxy]:
    """The module's proxy as new; one, because a client is made for each endpoint."""
    one_proxy.requests.clear()
    one_proxy.faults.clear()
    yield one_proxy
    one_proxy.plan = no_faults


class OnWeed(StoreContract):
    commits = int(os.environ.get("S3_COMMITS", "2"))  # SeaweedFS takes a second over a PUT that two want at once

    @pytest.fixture(autouse=True)
    def _behind(self, weed: Weed) -> None:
        self.behind = weed.behind

    def _key(self, store: S3Store, key: str) -> str:
        return store._prefix + key

    def peek(self, store: S3Store, key: str) -> bytes | None:
        try:
            found: bytes = self.behind.get_object(Bucket=BUCKET, Key=self._key(store, key))["Body"].read()
        except self.behind.exceptions.NoSuchKey:
            return None
        return found

    def plant(self, store: S3Store, key: str, data: bytes) -> None:
        self.behind.put_object(Bucket=BUCKET, Key=self._key(store, key), Body=data)


class TestS3Store(OnWeed):
    @pytest.fixture
    def store(self, at: Any) -> S3Store:
        return S3Store(at())


class TestS3StoreThroughFaults(OnWeed):
    """14 % of requests answered 503, 14 % cut before and 4 % after they were done, 5 % of bodies cut, and 409s."""

    faults: dict[Fault, float] = {"busy": 0.14, "reset": 0.14, "drop": 0.04, "truncate": 0.05, "conflict": 0.05}

    @pytest.fixture
    def store(self, at: Any, proxy: FaultProxy) -> S3Store:
        proxy.plan = shares(1, self.faults)
        return S3Store(at(proxy.endpoint))

    def test_exactly_one_of_many_writers_creates_a_key(self, store: S3Store, proxy: FaultProxy) -> None:  # type: ignore[override]
        # A writer whose answer is lost tries again and is refused by its own bytes: no writer may be told that it won.
        # Only the nonce of a commit tells, and the tests of commits prove it.
        proxy.plan = shares(1, self.faults | {"drop": 0.0})
        super().test_exactly_one_of_many_writers_creates_a_key(store)


def only(method: str, fault: Fault, times: int = 10**9) -> Any:
    """A plan: this fault for the first requests of this method."""
    left = [times]

    def plan(request: Request) -> Fault | None:
        if request.method == method and left[0]:
            left[0] -= 1
            return fault
        return None

    return plan


def test_a_commit_whose_answer_is_lost_is_told_as_done_and_there_is_one_version(at: Any, proxy: FaultProxy) -> None:
    store = open_store(at(proxy.endpoint))
    store.create("warm/up.json", b"1")
    proxy.plan = only("PUT", "drop", times=1)
    winner, mine = commit(store, "refs/main/1.json", Ref(kind="codes", recipe="r", artifact="a"))
    assert proxy.faults["drop"] == 1
    assert mine
    assert winner.artifact == "a"
    assert list(store.list("refs/main")) == ["refs/main/1.json"]


def test_a_body_that_breaks_off_is_read_again_until_it_is_whole(at: Any, proxy: FaultProxy) -> None:
    store = open_store(at(proxy.endpoint))
    data = bytes(range(256)) * 4000
    store.write("a/b.bin", data)
    proxy.plan = only("GET", "truncate", times=3)
    assert store.read("a/b.bin") == data
    assert proxy.faults["truncate"] == 3


def test_a_conflict_is_tried_again(at: Any, proxy: FaultProxy) -> None:
    store = open_store(at(proxy.endpoint))
    store.create("warm/up.json", b"1")
    proxy.plan = only("PUT", "conflict", times=2)
    store.create("refs/x/1.json", b"1")
    assert proxy.faults["conflict"] == 2
    assert store.read("refs/x/1.json") == b"1"


def test_a_store_that_overwrites_is_refused_before_anything_is_committed(
    at: Any, weed: Weed, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overwrite(request: Request) -> None:
        # The header is signed, so it cannot be taken off: what stood there is taken away instead.
        if request.method == "PUT":
            weed.behind.delete_object(Bucket=BUCKET, Key=request.path.removeprefix(f"/{BUCKET}/"))

    monkeypatch.setattr(s3_store, "_proven", set())
    proxy.plan = overwrite
    store = open_store(at(proxy.endpoint))
    with pytest.raises(ConfigError, match="overwrites where it should refuse"):
        commit(store, "refs/main/1.json", Ref(kind="codes", recipe="r", artifact="a"))
    assert list(store.list("refs")) == []
    assert list(store.list("probe")) == []


def test_the_probe_is_made_once_a_process_and_leaves_nothing(
    at: Any, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_store, "_proven", set())
    first, second = open_store(at(proxy.endpoint)), open_store(at(proxy.endpoint))
    first.create("a/1.json", b"1")
    second.create("a/2.json", b"1")
    assert sum("/probe/" in request.path for request in proxy.requests) == 3  # two PUTs and a DELETE
    assert list(first.list("probe")) == []


def test_what_never_passes_ends_after_a_bounded_number_of_tries(
    at: Any, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client.S3, "retries", 3)
    store = open_store(at(proxy.endpoint))
    store.write("a/b.bin", b"12345678")
    for fault, says in (("busy", "503 SlowDown"), ("reset", "ClientError|ConnectionClosed"), ("truncate", "Payload")):
        proxy.requests.clear()
        proxy.plan = only("GET", fault)  # type: ignore[arg-type]
        with pytest.raises(EnvironmentFault, match=says) as caught:
            store.read("a/b.bin")
        assert "a/b.bin" in caught.value.message
        assert "same command again" in caught.value.message
        # Below s3fs, aiohttp tries a GET once more where a connection that was kept open had been closed meanwhile.
        assert 3 <= len(proxy.requests) <= 6


def test_an_endpoint_that_is_down_is_named_as_such(at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client.S3, "retries", 2)
    with pytest.raises(EnvironmentFault, match="the store cannot be reached"):
        open_store(at("http://127.0.0.1:1")).read("a/b.bin")


def test_a_wrong_secret_names_the_variables_to_check_and_no_value(at: Any, proxy: FaultProxy, tmp_path: Any) -> None:
    config = tmp_path / "config"
    config.write_text("[profile wrong]\naws_access_key_id = nobody\naws_secret_access_key = wrong-secret-value\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_CONFIG_FILE", str(config))
        with pytest.raises(EnvironmentFault, match="does not know these credentials") as caught:
            open_store(at(proxy.endpoint, profile="wrong")).read("a/b.bin")
        with pytest.raises(ConfigError, match="profile"):
            open_store(at(profile="absent")).read("a/b.bin")
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.message
    assert "wrong-secret-value" not in caught.value.message
    assert len(proxy.requests) == 1


def test_a_bucket_that_is_not_there_is_a_matter_of_configuration(weed: Weed) -> None:
    store = open_store(f"s3://nobodys-bucket/lake?endpoint={weed.endpoint}")
    for verb in (store.read, lambda key: store.write(key, b"1"), lambda key: store.create(key, b"1")):
        with pytest.raises(ConfigError, match=r"the bucket does not exist.*nobodys-bucket"):
            verb("a/b.json")


def test_writes_ask_for_the_key_and_reads_accept_the_bill(
    at: Any, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client.S3, "retries", 1)
    store = open_store(at(proxy.endpoint, kms_key="alias/lake", requester_pays="true"))
    # This server has no KMS: what counts is what it was asked.
    with pytest.raises((EnvironmentFault, ConfigError)):
        store.write("a/b.bin", b"1")
    (put,) = (request for request in proxy.requests if request.method == "PUT")
    assert put.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert put.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/lake"
    with pytest.raises(FileNotFoundError):
        store.read("a/b.bin")
    list(store.list("a"))
    for request in proxy.requests:
        assert request.headers["x-amz-request-payer"] == "requester"


def test_the_file_system_travels_without_secrets_and_is_one_a_process(at: Any) -> None:
    fs, _ = filesystem(at())
    sent = pickle.dumps(fs)
    assert b"secret" not in sent.lower()
    assert b"access" not in sent.lower()
    assert pickle.loads(sent) is fs  # noqa: S301 - of ours


def test_arrow_writes_and_reads_through_the_same_client(at: Any) -> None:
    fs, path = arrow(at())
    fs.create_dir(f"{path}/training")
    with fs.open_output_stream(f"{path}/training/state.json") as stream:
        stream.write(b"{}")
    assert open_store(at()).read("training/state.json") == b"{}"
    fs.delete_dir(f"{path}/training")
    assert list(open_store(at()).list("training")) == []


def test_a_large_write_goes_in_parts_and_survives_a_lost_last_answer(
    at: Any, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client.S3, "part_bytes", 5 * 2**20)
    dropped: list[str] = []

    def plan(request: Request) -> Fault | None:
        if request.method == "POST" and "uploadId" in request.target and not dropped:
            dropped.append(request.target)
            return "drop"
        return None

    proxy.plan = plan
    store = S3Store(at(proxy.endpoint))
    data = bytes(range(256)) * (11 * 4096)  # 11 MiB
    store.write("a/b.bin", data)
    assert len(dropped) == 1
    assert store.read("a/b.bin") == data


def test_a_server_that_is_killed_and_started_again_is_waited_for_and_loses_nothing(tmp_path: Path) -> None:
    server = Weed(tmp_path / "weed")
    server.start()
    store = open_store(f"s3://{BUCKET}/lake?endpoint={server.endpoint}")
    failures: list[BaseException] = []
    written: list[str] = []

    def work(writer: int) -> None:
        try:
            for number in range(40):
                key = f"parts/{writer}-{number}.bin"
                store.write(key, key.encode() * 1000)
                store.create(f"receipts/{writer}-{number}.json", key.encode())
                written.append(key)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    try:
        for thread in threads:
            thread.start()
        while len(written) < 30 and not failures:
            time.sleep(0.01)
        server.kill()
        server.start()
        for thread in threads:
            thread.join()
        # A receipt whose answer was lost in the crash is refused to its own writer; only a commit's nonce tells.
        assert all(isinstance(error, FileExistsError) for error in failures)
        assert len(failures) <= len(threads)
        for key in written:
            assert store.read(key) == key.encode() * 1000
    finally:
        server.kill()
