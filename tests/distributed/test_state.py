"""A checkpoint that is no checkpoint is refused by what it is, and stays."""

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
