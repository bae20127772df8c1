"""A cluster of several nodes on this machine, each with its own raylet, of which one may be lost."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.chaos.processes import Process, below
from tests.conftest import Cluster, free_port

HEAD_CPUS, CPUS = 1, 2
"""The head has no room for two actors, so one is on another node."""


REGISTERED = """
import sys, time, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
while ray.cluster_resources().get("CPU", 0) < int(sys.argv[2]):
    time.sleep(0.2)
"""
"""Waits until a cluster has so many CPUs; a raylet that runs has not joined yet."""


class Nodes:
    """A head and some further nodes, all of which work; a context manager.

    Args:
        count: Nodes beside the head.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.nodes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return self.head.address

    def __enter__(self) -> "Nodes":
        self._folder = tempfile.TemporaryDirectory(prefix="nc", dir="/tmp", ignore_cleanup_errors=True)
        folder = Path(self._folder.name)
        self.head = Cluster(folder, cpus=HEAD_CPUS)
        try:
            self.head.wait()
            self.add(self.count)
        except BaseException:
            self.__exit__()
            raise
        return self

    def add(self, count: int) -> None:
        """Start some nodes, one after the other."""
        ray = str(Path(sys.executable).with_name("ray"))
        for _ in range(count):
            command = [ray, "start", f"--address={self.address}", "--block", "--disable-usage-stats"]
            command += [f"--num-cpus={CPUS}", "--num-gpus=0", "--node-ip-address=127.0.0.1"]
            command += ["--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=500000000"]
            command += [f"--dashboard-agent-listen-port={free_port()}"]
            command += [f"--dashboard-agent-grpc-port={free_port()}"]
            self.nodes.append(
                subprocess.Popen(
                    command,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"},
                    start_new_session=True,
                )
            )
            self._wait()  # two that start at once on one address get in each other's way

    def _wait(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not all(any("raylet" in one.title for one in below(node.pid)) for node in self.nodes):
            assert time.monotonic() < deadline, "a node did not come up"
            time.sleep(0.2)
        cpus = HEAD_CPUS + CPUS * len(self.nodes)
        subprocess.run([sys.executable, "-c", REGISTERED, self.address, str(cpus)], check=True, timeout=seconds)

    def kill_one_with(self, title: str, seed: int = 0) -> None:
        """SIGKILL to all processes of one node that has such a process, as when a machine loses power."""
        having = [node for node in self.nodes if any(one.is_called(title) for one in below(node.pid))]
        assert having, "no node does such work"
        self._kill(random.Random(seed).choice(having))  # noqa: S311 - no secret

    def kill_all(self) -> None:
        """The same of all nodes but the head."""
        while self.nodes:
            self._kill(self.nodes.pop())

    def _kill(self, node: "subprocess.Popen[bytes]") -> None:
        every: list[Process] = below(node.pid)
        with suppress(ProcessLookupError):
            os.kill(node.pid, signal.SIGKILL)
        for one in every:
            one.kill()
        node.wait()

    def __exit__(self, *_: Any) -> None:
        for node in self.nodes:
            if node.poll() is None:
                self._kill(node)
        self.head.stop()
        self._folder.cleanup()
