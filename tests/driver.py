"""A process that works off cases for a test: what starts once a run need not start once a test."""

import json
import os
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT


class Driver:
    """A process of ``module`` on a cluster; a case a line goes in, its answer comes out as JSON.

    Args:
        module: What it runs: reads ``{"case", "spec"}`` a line, answers with an object that has "result" or "error".
        address: The cluster.
    """

    def __init__(self, module: str, address: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, case: str, spec: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"case": case, "spec": spec}) + "\n")
        self.process.stdin.flush()
        # Ray writes words of its own between the answers.
        line = next((line for line in self.process.stdout if line.startswith(('{"result"', '{"error"'))), "")
        assert line, "the driver process died"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it, whatever happens."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
