"""A checkpoint that is no checkpoint is refused by what it is, and stays."""

import contextlib
import pickle
from pathlib import Path

import pytest
import torch

from neuroconcepts_ray.distributed.train import State
from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.progress import check_state


@pytest.mark.parametrize("damage", ["pickle", "torn", "gone", "meta"])
def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path: Path, damage: str) -> None:
    State({"x": torch.arange(5.0)}, {"step": 1}).write(tmp_path)
    assert torch.equal(State.read(tmp_path).tensors["x"], torch.arange(5.0))
    file = tmp_path / "state.safetensors"
    if damage == "pickle":
        file.write_bytes(pickle.dumps({"x": [1.0]}))
    elif damage == "torn":
        file.write_bytes(file.read_bytes()[:-4])
    elif damage == "gone":
        file.unlink()
    else:
        (tmp_path / "state.json").write_text('{"st')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="cannot be read"):
        State.read(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_of_another_dimension_is_named() -> None:
    with pytest.raises(InputError, match="does not fit"):
        check_state({"idle": torch.zeros(4), "mean": torch.zeros(3), "scale": torch.zeros(())}, 4, 2)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json"])
def test_a_flipped_bit_anywhere_in_a_checkpoint_is_refused_or_changes_nothing(tmp_path: Path, file: str) -> None:
    meta = {"step": 1, "loss": 0.5, "never": float("inf"), "order": [3, 1, 2], "name": "ä"}
    State({"x": torch.arange(3.0)}, meta).write(tmp_path)
    whole = (tmp_path / file).read_bytes()
    for at in range(len(whole)):
        (tmp_path / file).write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        with contextlib.suppress(InputError):
            read = State.read(tmp_path)
            assert torch.equal(read.tensors["x"], torch.arange(3.0))
            assert {name: read.meta.get(name) for name in meta} == meta
    (tmp_path / file).write_bytes(whole)
    assert State.read(tmp_path).meta == meta


def test_a_checkpoint_without_a_seal_is_still_read(tmp_path: Path) -> None:
    State({"x": torch.arange(3.0)}, {}).write(tmp_path)
    (tmp_path / "state.json").write_text('{"step": 4}')
    assert State.read(tmp_path).meta == {"step": 4}
