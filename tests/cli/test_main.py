"""How a command ends that is interrupted, through the application itself, which makes an exit of it."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray.cli import estimate
from neuroconcepts_ray.cli.main import call


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (signal.SIGINT, 130, "error: interrupted. Run the same command again"),
        (signal.SIGTERM, 4, "error: this process was asked to end. Run the same command again"),
    ],
)
def test_a_command_that_is_stopped_says_that_it_continues(
    monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path, number: int, code: int, said: str
) -> None:
    monkeypatch.setattr(estimate, "plan", lambda *_args, **_more: os.kill(os.getpid(), number))
    assert call(["plan", "-c", str(tmp_path / "pipeline.yaml")]) == code
    assert capfd.readouterr().err.startswith(said)
