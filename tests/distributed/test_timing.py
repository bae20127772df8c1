"""Which step a pass waits for, and how it is told."""

import json

import pytest

from neuroconcepts_ray.distributed.timing import Summary


@pytest.mark.parametrize(
    ("seconds", "step"),
    [
        ({"read": 9.0, "decode": 50.0, "infer": 60.0, "write": 1.0, "wait": 2.0}, "infer"),
        ({"read": 9.0, "decode": 50.0, "infer": 20.0, "write": 1.0, "wait": 40.0}, "decode"),
        ({"read": 90.0, "decode": 50.0, "infer": 20.0, "write": 1.0, "wait": 90.0}, "read"),
        ({"read": 9.0, "infer": 2.0, "write": 30.0}, "write"),
    ],
)
def test_the_bottleneck_is_on_the_side_that_the_other_waits_for(seconds: dict[str, float], step: str) -> None:
    assert Summary(seconds=seconds).bottleneck == step


def test_a_summary_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    summary = Summary(wall_s=20.0)
    for _ in range(2):
        summary.add(50, {"read": 1.0, "decode": 2.0, "infer": 8.0, "write": 0.5, "wait": 0.25})
    summary.tell("activations")
    assert json.loads(capsys.readouterr().err) == {
        "event": "summary",
        "stage": "activations",
        "images": 100,
        "seconds": 20.0,
        "per_second": 5.0,
        "read_s": 2.0,
        "decode_s": 4.0,
        "infer_s": 16.0,
        "write_s": 1.0,
        "wait_s": 0.5,
        "bottleneck": "infer",
    }
