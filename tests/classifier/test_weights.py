"""Files of weights: what is taken, what is refused, and that no code out of one is ever run."""

import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from neuroconcepts_ray.classifier.weights import fitted, read_weights
from neuroconcepts_ray.errors import ConfigError, InputError

STATE = {"stem.weight": torch.rand(4, 3), "head.weight": torch.rand(2, 4), "head.bias": torch.rand(2)}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


class Trap:
    """Touches a marker file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (os.system, (f"touch '{self.marker}'",))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"model_state_dict": {f"module.{name}": value for name, value in state.items()}, "lr": 0.1},
    ],
    ids=["bare", "checkpoint", "nested", "parallel"],
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_come_out_of_checkpoints_under_their_own_names(tmp_path: Path, wrap, zipped: bool) -> None:
    torch.save(wrap(STATE), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_weights(tmp_path / "w.pth"), STATE)


def test_safetensors_are_told_by_their_bytes_not_by_their_name(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth")
    assert same({name: found[name] for name in STATE}, STATE)


def test_old_names_of_densenet_layers_are_made_new(tmp_path: Path) -> None:
    old = "module.densenet121.features.denseblock1.denselayer2.norm.1.running_mean"
    torch.save({old: torch.zeros(3)}, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth")) == ["densenet121.features.denseblock1.denselayer2.norm1.running_mean"]


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_malicious_pickle_is_refused_and_its_code_does_not_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "marker"
    file = tmp_path / "w.pth"
    torch.save({"state_dict": STATE, "extra": Trap(marker)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"never run.*posix\.system.*state_dict"):
        read_weights(file)
    assert not marker.exists()
    # The trap is real: plain unpickling springs it.
    pickle.loads(pickle.dumps(Trap(marker)))  # noqa: S301
    assert marker.exists()


def test_a_bare_malicious_pickle_is_refused_too(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "w.pt").write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(InputError):
        read_weights(tmp_path / "w.pt")
    assert not marker.exists()


def test_a_pickled_module_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Linear(3, 2)), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"whole pickled module.*torch\.nn.*state_dict\(\)"):
        read_weights(tmp_path / "w.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"TorchScript.*state_dict\(\)"):
        read_weights(tmp_path / "w.pt")


def _torch_file(path: Path) -> bytes:
    torch.save(STATE, path)
    return path.read_bytes()


def _bomb(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"\x80\x02}.")
        archive.writestr("w/data/0", bytes(1 << 24))
    return path.read_bytes()


def _other_zip(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return path.read_bytes()


HUGE = b'{"a":{"dtype":"U8","shape":[4294967296],"data_offsets":[0,4294967296]}}'

DAMAGED = {
    "empty": (lambda _: b"", "empty"),
    "truncated zip": (lambda path: _torch_file(path)[:-200], "truncated or damaged"),
    "half a zip": (lambda path: _torch_file(path)[:300], "truncated or damaged"),
    "zip bomb": (_bomb, "more than it is long"),
    "another zip": (_other_zip, "none that torch.save wrote"),
    "truncated pickle": (lambda _: pickle.dumps(dict.fromkeys(range(99)))[:40], "truncated or damaged"),
    "header of 4 GB": (lambda _: struct.pack("<Q", 4 << 30) + b'{"a"' + bytes(50), "damaged"),
    "tensor of 4 GB": (lambda _: struct.pack("<Q", len(HUGE)) + HUGE, "damaged"),
    "text": (lambda _: b"these are my weights", "no file of weights"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_are_one_clear_error(tmp_path: Path, case: str) -> None:
    make, says = DAMAGED[case]
    data = make(tmp_path / "made")
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(InputError, match=says):
        read_weights(tmp_path / "w.pth")


def test_a_table_that_holds_more_than_tensors_is_refused_by_the_first_names(tmp_path: Path) -> None:
    torch.save({**STATE, "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(InputError, match="epoch"):
        read_weights(tmp_path / "w.pth")
    torch.save(torch.zeros(3), tmp_path / "w.pth")
    with pytest.raises(InputError, match="no table of tensors"):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file_is_an_error_of_usage(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_weights(tmp_path / "nowhere.pth")


def test_tensors_that_do_not_fit_are_counted_by_kind_with_the_first_of_each() -> None:
    given = {"stem.weight": torch.zeros(5, 3), "other.a": torch.zeros(1), "other.b": torch.zeros(1)}
    with pytest.raises(InputError) as caught:
        fitted(given, STATE, "head")
    said = str(caught.value)
    assert "2 missing (head.weight, head.bias)" in said
    assert "2 unexpected (other.a, other.b)" in said
    assert "1 of another shape (stem.weight [5, 3] not [4, 3])" in said


def test_a_head_of_another_size_says_how_many_labels_there_should_be() -> None:
    given = {**STATE, "head.weight": torch.zeros(7, 4), "head.bias": torch.zeros(7)}
    with pytest.raises(InputError, match=r"7 outputs .head., but 2 labels are given.*Give the 7 labels"):
        fitted(given, STATE, "head")


def test_a_common_prefix_is_named_with_the_option_that_takes_it_off() -> None:
    with pytest.raises(InputError, match=r"--prefix net\."):
        fitted({f"net.{name}": value for name, value in STATE.items()}, STATE, "head")


def test_half_precision_becomes_float32_and_counters_may_be_missing() -> None:
    fresh = {**STATE, "norm.num_batches_tracked": torch.tensor(0)}
    found = fitted({name: value.half() for name, value in STATE.items()}, fresh, "head")
    assert {name: value.dtype for name, value in found.items()} == {name: value.dtype for name, value in fresh.items()}
    torch.testing.assert_close(found["stem.weight"], STATE["stem.weight"].half().float())
