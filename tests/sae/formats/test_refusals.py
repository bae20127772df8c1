"""What is no checkpoint, or one that nothing here equals, is refused by name; nothing half written."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, InputError
from neuroconcepts_ray.sae.activation import JumpReLU, TopK
from neuroconcepts_ray.sae.brought import DESCRIPTION, WEIGHTS
from neuroconcepts_ray.sae.formats import folder as folders
from neuroconcepts_ray.sae.formats import saelens, sparsify
from neuroconcepts_ray.sae.formats.folder import read_folder, write_folder
from neuroconcepts_ray.sae.model import SAE, read_sae, save_sae
from tests.classifier.test_weights import Trap
from tests.sae.formats.test_golden import GOLDEN, given


def altered(case: str, **fields: Any) -> dict[str, bytes]:
    files = given(case)[1]
    return files | {"cfg.json": json.dumps(json.loads(files["cfg.json"]) | fields).encode()}


@pytest.mark.parametrize(
    ("case", "field", "value"),
    [
        ("saelens-standard", "normalize_activations", "layer_norm"),
        ("saelens-standard", "normalize_activations", "constant_norm_rescale"),
        ("saelens-topk", "normalize_activations", "expected_average_only_in"),
        ("saelens-topk", "normalize_activations", "covariance_whitening"),
        ("saelens-old-standard", "normalize_activations", True),
        ("saelens-old-standard", "activation_fn_str", "tanh-relu"),
        ("saelens-standard", "reshape_activations", "sideways"),
        *(
            ("saelens-standard", "architecture", one)
            for one in ("temporal", "transcoder", "matching_pursuit", "abstopk")
        ),
        ("sparsify-topk", "activation", "groupmax"),
        ("sparsify-topk", "transcode", True),
        ("sparsify-topk", "skip_connection", True),
    ],
)
def test_what_nothing_here_equals_is_refused_with_its_field_and_value(case: str, field: str, value: object) -> None:
    name = "activation_fn" if field == "activation_fn_str" else field
    shown = "expected_average_only_in" if value is True and field == "normalize_activations" else value
    with pytest.raises(InputError, match=f"no SAE here would be equal.*got {name} = {shown}.*cfg.json"):
        given(case)[0].read(altered(case, **{field: value}))


@pytest.mark.parametrize(
    ("case", "fields", "said"),
    [
        ("saelens-topk", {"d_in": 9}, r"W_enc \(8, 24\), not \(9, 24\)"),
        ("saelens-topk", {"architecture": "gated"}, "b_gate is missing.*b_enc is not known"),
        ("saelens-topk", {"k": 25}, r"k is not right \(got 25; allowed: 1…24\)"),
        ("saelens-topk", {"k": 2.5}, "k is not right"),
        ("saelens-topk", {"d_sae": None}, "d_sae is not right"),
        ("sparsify-topk", {"num_latents": 0, "expansion_factor": 2}, r"\(24, 8\), not \(16, 8\)"),
        ("sparsify-topk", {"d_in": True}, "d_in is not right"),
    ],
)
def test_a_config_and_tensors_that_do_not_belong_together(case: str, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        given(case)[0].read(altered(case, **fields))


@pytest.mark.parametrize("broken", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
def test_a_config_that_is_no_json_object(broken: bytes) -> None:
    with pytest.raises(InputError, match="JSON"):
        sparsify.read(given("sparsify-topk")[1] | {"cfg.json": broken})


def test_tensors_that_are_damaged_or_not_finite() -> None:
    library, files, _ = given("sparsify-topk")
    data = files[library.WEIGHTS]
    for broken in (b"", data[:-1], b"GIF89a" + data, pickle.dumps({"W_dec": 1}, protocol=0)):
        with pytest.raises(InputError, match="not a safetensors file"):
            library.read(files | {library.WEIGHTS: broken})
    tensors = load(data)
    tensors["b_dec"][0] = torch.nan
    with pytest.raises(InputError, match=r"finite.*b_dec"):
        library.read(files | {library.WEIGHTS: save(tensors)})
    with pytest.raises(InputError, match=r"has no sae\.safetensors"):
        library.read({"cfg.json": files["cfg.json"]})
    scaled = load(given("saelens-standard")[1][saelens.WEIGHTS]) | {"scaling_factor": torch.full((24,), 2.0)}
    with pytest.raises(InputError, match="scaling_factor"):
        saelens.read(given("saelens-standard")[1] | {saelens.WEIGHTS: save(scaled)})


def test_ones_to_scale_by_and_logarithms_of_thresholds_are_of_older_versions() -> None:
    _, files, io = given("saelens-jumprelu")
    tensors = load(files[saelens.WEIGHTS])
    theta = tensors.pop("threshold").abs()
    new = saelens.read(files | {saelens.WEIGHTS: save(tensors | {"threshold": theta})})[0]
    older = tensors | {"log_threshold": theta.log(), "scaling_factor": torch.ones(24)}
    old = saelens.read(files | {saelens.WEIGHTS: save(older)})[0]
    torch.testing.assert_close(old.reconstruct(io["x"]), new.reconstruct(io["x"]))


def run(*args: object) -> int:
    return call([str(one) for one in args])


def test_a_pickle_is_refused_unopened_whatever_it_is_called(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sprung = tmp_path / "sprung"
    for number, name in enumerate((sparsify.WEIGHTS, "ae.pt", "sae.bin", "whole.pth")):
        place = tmp_path / str(number)
        place.mkdir()
        (place / "cfg.json").write_bytes((GOLDEN / "sparsify-topk" / "cfg.json").read_bytes())
        torch.save({"W_dec": Trap(sprung)}, place / name)
        if number == 2:
            (place / name).write_bytes(pickle.dumps(Trap(sprung)))
        source = place / name if name == "whole.pth" else place
        assert run("import-sae", source, "--from", "sparsify", "-o", tmp_path / "out") == 3
        said = capfd.readouterr().err
        assert "this is a pickle" in said
        assert name in said
    assert not sprung.exists()
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="this is a pickle"):
        read_sae(pickle.dumps(Trap(sprung)), json.dumps({"n": 1, "d": 1, "k": 1}).encode())


def test_the_command_line_imports_and_says_what_to_do_next(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source, out = GOLDEN / "saelens-gated", tmp_path / "sae"
    assert run("import-sae", source, "--from", "saelens", "--tap", "layer4", "-o", out) == 0
    assert f"weights: {out}" in capfd.readouterr().out
    about = json.loads((out / DESCRIPTION).read_bytes())
    assert about == {"variant": "gated", "activation": "jumprelu", "tap": "layer4", "n": 24, "d": 8, "k": None}
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert run("import-sae", GOLDEN / "saelens-topk", "--from", "saelens", "-o", out) == 2
    assert "there already" in capfd.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert run("import-sae", source, "--from", "prisma", "-o", tmp_path / "b") == 2
    assert "allowed: saelens, sparsify" in capfd.readouterr().err
    assert run("import-sae", tmp_path / "nowhere", "--from", "saelens", "-o", tmp_path / "b") == 2
    assert "does not exist" in capfd.readouterr().err
    assert run("import-sae", GOLDEN, "--from", "saelens", "-o", tmp_path / "b") == 3
    assert "give one of these" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sae"]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == WEIGHTS:
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(folders.Path, "write_bytes", full)
    with pytest.raises(EnvironmentFault, match="No space left"):
        write_folder({DESCRIPTION: b"{}", WEIGHTS: b"x"}, tmp_path / "out")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="is a folder"):
        (tmp_path / "file").touch()
        read_folder(tmp_path / "file", WEIGHTS)


def test_our_own_file_is_read_with_the_same_care() -> None:
    sae = SAE(torch.eye(3), torch.zeros(3), torch.eye(3), torch.zeros(3), JumpReLU(torch.tensor([0.0, 1, 2])))
    files = save_sae(sae, "pre_logits", "jumprelu")
    about = json.loads(files[DESCRIPTION])
    for change, said in (
        ({"activation": "topk", "k": 2}, "theta is not known"),
        ({"d": 4}, r"\(3, 3\), not \(3, 4\)"),
        ({"activation": "tanh"}, "no such activation"),
        ({"n": None}, "n is not right"),
    ):
        with pytest.raises(InputError, match=said):
            read_sae(files[WEIGHTS], json.dumps(about | change).encode())
    for theta, said in ((torch.tensor([-1.0, 0, 0]), "negative"), (torch.tensor([torch.inf, 0, 0]), "finite")):
        with pytest.raises(InputError, match=said):
            read_sae(save(load(files[WEIGHTS]) | {"theta": theta}), files[DESCRIPTION])
    with pytest.raises(InputError, match=r"thresholds.*--to saelens"):
        sparsify.write(sae, "pre_logits")
    assert (
        json.loads(sparsify.write(SAE(sae.W_enc, sae.b_enc, sae.W_dec, sae.b_dec, TopK(2)), "x")["cfg.json"])["k"] == 2
    )


def test_weights_that_float32_cannot_hold_are_refused_before_anything_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = given("sparsify-topk")[1]
    tensors = {name: tensor.double() for name, tensor in load(files["sae.safetensors"]).items()}
    tensors["encoder.bias"][0] = 1e300
    write_folder(files | {"sae.safetensors": save(tensors)}, tmp_path / "theirs")
    assert run("import-sae", tmp_path / "theirs", "--from", "sparsify", "-o", tmp_path / "ours") == 3
    assert "finite" in capfd.readouterr().err
    assert not (tmp_path / "ours").exists()
