"""URIs: options in one spelling, secrets refused, and the client that comes of them."""

import http.server
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault
from neuroconcepts_ray.lake.remote import OPTIONS, arrow, filesystem, parse, read_bytes
from neuroconcepts_ray.lake.store import open_store
from tests.conftest import ROOT, S3_KEY, S3_SECRET, needs
from tests.weed import BUCKET, Weed


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("s3://key:s3cr3t@bucket/lake", "user or password"),
        ("s3://bucket/lake?secret=s3cr3t", "holds a secret"),
        ("s3://bucket/lake?aws_session_token=s3cr3t", "holds a secret"),
        ("s3://bucket/lake?key=s3cr3t", "holds a secret"),
        ("s3://bucket/lake?endpoint=http://u:s3cr3t@host", "without user"),
        ("sftp://user:s3cr3t@host/archive", "password"),
        ("simplecache::https://user:s3cr3t@host/archive", "password"),
        ("https://host/archive?X-Amz-Signature=s3cr3t", "signature"),
        ("https://host/archive?sv=1&sig=s3cr3t", "signature"),
        ("s3://bucket/lake?colour=s3cr3t", "unknown.*colour.*endpoint, region"),
        ("s3://bucket/lake?region=", "empty"),
        ("s3://bucket/lake?region=a&region=b", "twice"),
        ("s3:///lake", "needs a bucket"),
        ("s3://bucket/../other", "upward"),
        ("s3://bucket//lake", "empty"),
        ("s3://bucket/lake?endpoint=host:8333", r"http\(s\)"),
        ("s3://bucket/lake?requester_pays=yes", "true or false"),
        ("s3://bucket/lake?ca=/not/there.pem", "does not exist"),
    ],
)
def test_a_uri_with_a_secret_or_something_unknown_is_refused_and_its_value_not_shown(uri: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse(uri)
    assert "s3cr3t" not in caught.value.message


def test_a_uri_has_one_spelling_whatever_the_order_of_its_options() -> None:
    one = parse("s3://bucket/lake/?region=eu-west-1&kms_key=arn:aws:kms:eu:1:key/a%26b")
    other = parse("s3://bucket/lake?kms_key=arn:aws:kms:eu:1:key/a%26b&region=eu-west-1")
    assert one == other
    assert one.options["kms_key"] == "arn:aws:kms:eu:1:key/a&b"
    assert parse(one.uri) == one
    assert one.child("training", "x").path == "bucket/lake/training/x"
    assert parse(one.child("training").uri).options == one.options


def test_paths_and_file_uris_are_local(tmp_path: Path) -> None:
    assert parse(str(tmp_path)) == parse(f"file://{tmp_path}")
    (tmp_path / "a").write_bytes(b"1")
    assert read_bytes(f"file://{tmp_path}/a") == b"1"
    fs, path = arrow(str(tmp_path))
    assert fs.get_file_info(f"{path}/a").size == 1


def test_other_urls_of_fsspec_open_and_what_nothing_opens_says_so() -> None:
    fs, path = filesystem("memory://archive/films")
    fs.pipe_file(f"{path}/a.png", b"1")
    assert read_bytes("memory://archive/films/a.png") == b"1"
    with pytest.raises(ConfigError, match="no file system serves"):
        filesystem("gopher://host/archive")
    with pytest.raises(EnvironmentFault, match="package for this URI is missing"):
        filesystem("gs://bucket/archive")


def test_every_option_is_documented() -> None:
    text = (ROOT / "docs" / "storage.md").read_text()
    for option in OPTIONS:
        assert f"| `{option}` |" in text


class _Sts(http.server.BaseHTTPRequestHandler):
    """Answers AssumeRole with the server's credentials, which are soon to expire."""

    calls: list[str] = []

    def do_POST(self) -> None:
        self.calls.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        # botocore renews what has less than fifteen minutes left.
        expires = (datetime.now(UTC) + timedelta(minutes=11)).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = (
            '<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            f"<AccessKeyId>{S3_KEY}</AccessKeyId><SecretAccessKey>{S3_SECRET}</SecretAccessKey>"
            f"<SessionToken></SessionToken><Expiration>{expires}</Expiration>"
            "</Credentials><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn><AssumedRoleId>r:s</AssumedRoleId>"
            "</AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def sts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Sts) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{server.server_address[1]}")
        monkeypatch.setattr(_Sts, "calls", [])
        yield _Sts.calls
        server.shutdown()
        thread.join()


def test_a_role_is_assumed_with_a_profile_and_renewed_before_it_expires(
    weed: Weed, sts: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile who]\naws_access_key_id = somebody\naws_secret_access_key = some-secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    role = "arn:aws:iam::123456789012:role/films"
    store = open_store(f"s3://{BUCKET}/role?endpoint={weed.endpoint}&profile=who&role={role}")
    store.write("a/b.bin", b"1")  # by the role's credentials: the profile's own are unknown to the server
    first = len(sts)
    assert first >= 1
    assert "role%2Ffilms" in sts[0]
    assert store.read("a/b.bin") == b"1"
    assert len(sts) > first


_FORKED = """
import multiprocessing, sys
from neuroconcepts_ray.lake.store import open_store

uri = sys.argv[1]
open_store(uri).write("a/b.bin", b"1")
context = multiprocessing.get_context("fork")
answers = context.Queue()
child = context.Process(target=lambda: answers.put(open_store(uri).read("a/b.bin")))
child.start()
assert answers.get(timeout=30) == b"1"
child.join(30)
assert child.exitcode == 0
"""


def test_a_forked_process_makes_a_client_of_its_own(weed: Weed) -> None:
    # In a process of its own: a child shares its parent's epoll, and where it throws the parent's sockets away, the
    # parent waits for them in vain.
    command = [sys.executable, "-c", _FORKED, f"s3://{BUCKET}/fork?endpoint={weed.endpoint}"]
    subprocess.run(command, check=True, timeout=120, cwd=ROOT)


class _Empty(http.server.BaseHTTPRequestHandler):
    """A store in which nothing is."""

    def do_GET(self) -> None:
        body = b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        pass


def test_a_certificate_of_ones_own_is_trusted_by_its_file_alone(tmp_path: Path) -> None:
    needs(shutil.which("openssl") is not None, "openssl makes the certificate")
    key, ca = tmp_path / "key.pem", tmp_path / "ca.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=store"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(ca)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        uri = f"s3://{BUCKET}/lake?endpoint=https://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(EnvironmentFault, match=r"certificate .* not trusted.*ca="):
            open_store(uri).read("a/b.bin")
        with pytest.raises(FileNotFoundError):
            open_store(f"{uri}&ca={ca}").read("a/b.bin")
        server.shutdown()
        thread.join()
