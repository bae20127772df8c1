"""A published network is taken along only if it says here what it said there."""

import csv
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from neuroconcepts_ray.classifier import factory
from neuroconcepts_ray.classifier.brought import file_sha256
from neuroconcepts_ray.classifier.card import Card
from neuroconcepts_ray.classifier.config import ClassifierConfig, plan
from neuroconcepts_ray.classifier.model import Classifier
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError, DigestError, EnvironmentFault, InputError
from tests.classifier.published import DENSENET121, LABELS, SMALL, original, publish
from tests.classifier.test_job import HAVE
from tests.classifier.test_weights import Trap

FACTORY, KWARGS = SMALL


class Place:
    """A folder with chest.pth, films, logits.csv and tensors.npz, and the command line that imports them."""

    def __init__(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capfd = folder, capfd
        self.out = folder / "out" / "chest"

    def __call__(self, code: int = 0, **changes: str | None) -> str:
        """Import with some options changed or (None) left out; what was printed, the error line last."""
        options: dict[str, str | None] = {
            "weights": str(self.folder / "chest.pth"),
            "factory": FACTORY,
            "kwargs": json.dumps(KWARGS),
            "labels": ",".join(LABELS),
            "size": "64",
            "resize": "72",
            "reference": str(self.folder / "logits.csv"),
            "images": str(self.folder / "films"),
            "reference_tensors": str(self.folder / "tensors.npz"),
            "tolerance": "1e-4",
            "output": str(self.out),
            **changes,
        }
        args = ["import-model", str(options.pop("weights"))]
        for name, value in options.items():
            args += [] if value is None else [f"--{name.replace('_', '-')}"] + ([value] if value else [])
        before = sorted(self.folder.rglob("*"))
        assert call(args) == code
        if code:
            assert sorted(self.folder.rglob("*")) == before
        said = self.capfd.readouterr()
        assert "Traceback" not in said.err
        return said.out + said.err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    publish(folder, *SMALL, films=4)
    return folder


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def place(made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Place:
    for item in made.iterdir():
        (tmp_path / item.name).symlink_to(item)
    return Place(tmp_path, capfd)


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the import reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A package of the user's with one factory ``build`` in it."""

    def install(build: Callable[..., Any]) -> str:
        module = ModuleType("hospital_networks")
        module.build = build  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "hospital_networks", module)
        return "hospital_networks:build"

    return install


@pytest.mark.usefixtures("without_network")
def test_a_published_densenet_imports_and_its_logits_match_to_1e_4(place: Place) -> None:
    for file in place.folder.iterdir():
        file.unlink()
    publish(place.folder, *DENSENET121, films=2)
    said = json.loads(place(factory=DENSENET121[0], kwargs=json.dumps(DENSENET121[1]), json=""))
    assert said["written"] and said["refused"] is None
    for name in ("images", "tensors"):
        assert said[name]["rows"] == 2
        assert list(said[name]["labels"]) == LABELS
        for figures in said[name]["labels"].values():
            assert 0 <= figures["mean"] <= figures["max"] <= 1e-4
    assert sorted(path.name for path in place.out.iterdir()) == ["model.json", "weights.safetensors"]
    state, weights = original(*DENSENET121).state_dict(), load_file(place.out / "weights.safetensors")
    assert set(weights) == set(state)
    assert all(torch.equal(weights[name], value) for name, value in state.items())
    card = json.loads((place.out / "model.json").read_text())
    assert (card["factory"], card["head"], card["d"], card["task"]) == (
        DENSENET121[0],
        "classifier",
        1024,
        "multilabel",
    )
    assert card["pixels"]["resize"] == 72
    assert card["digests"] == {
        "weights": file_sha256(place.out / "weights.safetensors"),
        "source": file_sha256(place.folder / "chest.pth"),
        "reference": file_sha256(place.folder / "logits.csv"),
        "reference_tensors": file_sha256(place.folder / "tensors.npz"),
    }


@pytest.mark.usefixtures("without_network")
def test_a_timm_model_imports_and_without_films_its_preprocessing_counts_as_unseen(place: Place) -> None:
    import timm

    network = timm.create_model("resnet10t", num_classes=14, in_chans=1).eval()
    torch.save(network.state_dict(), place.folder / "net.pt")
    x = torch.rand(3, 1, 64, 64)
    with torch.inference_mode():
        np.savez(place.folder / "ref.npz", x=x.numpy(), logits=network(x).numpy())
    options = {"weights": str(place.folder / "net.pt"), "factory": None, "timm": "resnet10t", "resize": None}
    options |= {"kwargs": '{"in_chans": 1}', "mean": "0.5", "std": "0.2", "reference": None}
    said = place(reference_tensors=str(place.folder / "ref.npz"), dry_run="", **options)
    assert "Preprocessing was not looked at" in said
    assert not place.out.exists()


def test_a_reference_may_be_parquet(place: Place) -> None:
    table = pa.csv.read_csv(place.folder / "logits.csv")
    pa.parquet.write_table(table, place.folder / "logits.parquet")
    place(reference=str(place.folder / "logits.parquet"), reference_tensors=None)


def test_wrong_preprocessing_is_told_from_a_wrong_network_and_what_would_agree_is_named(place: Place) -> None:
    said = place(3, resize=None)
    assert "the preprocessing differs" in said
    assert "agrees on the reference tensors" in said
    assert "0.0001" in said
    said = place(3, mean="0.5", std="0.5")
    assert "With ImageNet's mean and std" in said
    assert "--reference-tensors would tell" in place(3, resize=None, reference_tensors=None)


def test_a_wrong_network_is_told_from_wrong_preprocessing(place: Place) -> None:
    tensors = dict(np.load(place.folder / "tensors.npz"))
    tensors["logits"][2, 5] += 0.01
    np.savez(place.folder / "off.npz", **tensors)
    said = place(3, reference_tensors=str(place.folder / "off.npz"))
    assert "the network differs" in said
    assert "0.01 for finding 5" in said


def test_weights_that_are_not_finite_never_pass(place: Place) -> None:
    state = original(*SMALL).state_dict()
    state["classifier.bias"][3] = float("nan")
    torch.save(state, place.folder / "nan.pth")
    assert "nan for finding 3" in place(3, weights=str(place.folder / "nan.pth"))


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"labels": ",".join(LABELS[:13]), "reference_tensors": None}, 2, r"14 outputs.*13 labels"),
        ({"labels": "a,a"}, 2, "distinct"),
        ({"kwargs": '{"num_classes": 1'}, 2, "JSON"),
        ({"kwargs": '{"colour": 1}'}, 2, "factory failed.*colour"),
        ({"factory": None, "timm": "resnet10t", "kwargs": "{}"}, 3, r"do not fit the network: \d+ missing .*conv1"),
        ({"kwargs": json.dumps({**KWARGS, "block_config": [2, 2, 3, 2]})}, 3, r"do not fit.*missing.*denseblock3"),
        ({"factory": "os:system", "kwargs": '{"command": "true"}'}, 2, "installed package"),
        ({"factory": "torch:load"}, 2, "no factory.*annotated"),
        ({"factory": "torchvision.models:densenet12"}, 2, "no such name"),
        ({"factory": "nowhere_to_be_found.models:net"}, 4, "not installed on this machine.*nowhere_to_be_found"),
        ({"factory": "densenet121"}, 2, "pattern"),
        ({"timm": "densenet121"}, 2, "Give one of the two"),
        ({"reference": None, "reference_tensors": None}, 2, "prove"),
        ({"images": "/nowhere"}, 3, "row 1.*--images"),
        ({"image_column": "file"}, 2, "lacks a column.*file"),
        ({"channels": "2"}, 2, "channels"),
        ({"size": "32", "resize": None}, 2, "reference tensors are not what the network takes"),
        ({"fit": "pad"}, 2, "resize goes with fit"),
        ({"mean": "0.1,0.2"}, 2, "one value or three"),
        ({"std": "0"}, 2, "above 0"),
        ({"task": "many"}, 2, "multilabel"),
        ({"output": "."}, 2, "there already"),
    ],
)
def test_each_mistake_is_one_clear_line_and_nothing_is_written(
    place: Place, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], code: int, says: str
) -> None:
    import re

    monkeypatch.chdir(place.folder)
    said = place(code, **changes)
    assert re.search(says, said.splitlines()[-1]), said


def test_a_malicious_checkpoint_is_refused_by_the_command_and_its_marker_is_absent(place: Place) -> None:
    marker = place.folder / "marker"
    torch.save({"state_dict": original(*SMALL).state_dict(), "hook": Trap(marker)}, place.folder / "bad.pth")
    said = place(3, weights=str(place.folder / "bad.pth"))
    assert "never run" in said and "posix.system" in said
    assert not marker.exists()


def test_labels_missing_in_the_reference_and_logits_that_are_no_numbers_are_named(place: Place) -> None:
    with (place.folder / "logits.csv").open() as source:
        rows = list(csv.reader(source))
    short = place.folder / "short.csv"
    with short.open("w", newline="") as sink:
        csv.writer(sink).writerows(row[:-1] for row in rows)
    assert "finding 13" in place(2, reference=str(short))
    rows[2][4] = ""
    with short.open("w", newline="") as sink:
        csv.writer(sink).writerows(rows)
    assert "row 2" in place(3, reference=str(short))


def test_an_import_that_dies_while_it_writes_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: object) -> None:  # noqa: ARG001
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    place.out.parent.mkdir()
    assert "No space left" in place(4)


class Sigmoid(nn.Module):
    def __init__(self, outputs: int, after: nn.Module) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 6, 3)
        self.classifier = nn.Sequential(nn.Linear(6, outputs), after)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.classifier(self.body(x).mean((2, 3)))
        return made


class Clipped(Sigmoid):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).clamp(-10, 10)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 6, 3)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.last(self.body(x).flatten(2).mT).mean(1)
        return made


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.logits(x).mean((2, 3))
        return made


class First(nn.Module):
    """Its head is neither last among its modules nor called classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.verdict = nn.Linear(6, 2)
        self.body = nn.Conv2d(1, 6, 3)
        self.gate = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.body(x)
        maps = maps * torch.sigmoid(self.gate(maps.mean((2, 3))))[:, :, None, None]
        made: Tensor = self.verdict(F.dropout(F.adaptive_avg_pool2d(maps, 1).flatten(1), training=self.training))
        return made


def card(name: str, **changes: Any) -> Card:
    raw = {"factory": name, "labels": ["a", "b"], "task": "multilabel", "pixels": {"size": 16}, "mean": [0.5], "d": 0}
    return validate(Card, {**raw, "std": [0.5], **changes})


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Sigmoid(2, nn.Sigmoid()), r"classifier\.0 is followed by Sigmoid classifier\.1"),
        (lambda: Clipped(2, nn.Identity()), "followed by Identity|changed afterwards"),
        (Tokens, r"in last gives \[1, 196, 2\]"),
        (Convolutional, "there is none; the last layer is Conv2d logits"),
        (lambda: nn.Identity(), "there is none"),
    ],
)
def test_a_network_without_one_linear_head_is_refused_by_what_was_found(
    package: Callable[..., str], build: Callable[[], nn.Module], says: str
) -> None:
    def factory_of() -> nn.Module:
        return build()

    with pytest.raises(ConfigError, match=f"one linear layer.*{says}"):
        Classifier(card(package(factory_of)))


def test_a_head_is_found_under_any_name_and_the_logits_are_the_head_on_its_input(package: Callable[..., str]) -> None:
    model = Classifier(card(package(First))).eval()
    assert (model.head_name, model.d, model.channels) == ("verdict", 6, 1)
    whole = First().eval()
    whole.load_state_dict(model.timm_state())
    x = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    with torch.inference_mode():
        found = model.forward_taps(x, ["body"])
        torch.testing.assert_close(found["logits"], whole((x.float() / 255 - 0.5) / 0.5))
        maps = whole.body((x.float() / 255 - 0.5) / 0.5)
    torch.testing.assert_close(found["body"], maps.mean((2, 3)))
    exact = found["pre_logits"].double() @ model.W.double().T + model.b.double()
    torch.testing.assert_close(found["logits"].double(), exact, rtol=0, atol=1e-6)


def test_a_network_that_takes_grey_refuses_colour(package: Callable[..., str]) -> None:
    with pytest.raises(ConfigError, match="grey"):
        Classifier(card(package(First), pixels={"size": 16, "channels": 3}))


def test_a_factory_that_wants_pretrained_weights_is_refused_before_anything_is_sent(
    package: Callable[..., str],
) -> None:
    def build() -> nn.Module:
        socket.create_connection(("weights.example.org", 443))
        return First()

    with pytest.raises(ConfigError, match=r"downloaded.*weights\.example\.org.*weights=None"):
        Classifier(card(package(build)))
    # Outside, and in other threads, connections are as ever.
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_a_factory_must_say_that_it_makes_a_network(package: Callable[..., str]) -> None:
    def build():  # type: ignore[no-untyped-def]
        return First()

    with pytest.raises(ConfigError, match="annotated"):
        factory.find(package(build))
    assert not factory.makes_networks(os.system)
    assert factory.makes_networks(nn.Linear)


def test_a_worker_without_the_package_says_so_and_what_to_do() -> None:
    with pytest.raises(EnvironmentFault, match=r"not installed on this machine.*absent_package.*every node"):
        Classifier(card("absent_package.networks:build"))


def fingerprint(**changes: object) -> str:
    return plan(validate(ClassifierConfig, changes), HAVE)["classifier"].artifact


def test_the_card_decides_and_a_config_that_says_otherwise_is_refused_by_both_values(place: Place) -> None:
    place()
    mine = fingerprint(weights=str(place.out))
    assert mine == fingerprint(weights=str(place.out), pixels={"size": 64}, labels=LABELS, epochs=3)
    moved = place.out.rename(place.folder / "elsewhere")
    assert mine == fingerprint(weights=str(moved))
    for changes, says in (
        ({"pixels": {"size": 32}}, r"classifier\.pixels\.size is 32 in the config, but 64"),
        ({"backbone": "densenet121"}, f"backbone is densenet121 in the config, but factory {FACTORY}"),
        ({"labels": ["a"]}, r"labels is \['a'\] in the config, but \['finding 0'"),
        ({"mean": [0.5]}, r"mean is \[0\.5\] in the config, but \[0\.485"),
    ):
        with pytest.raises(ConfigError, match=says):
            fingerprint(weights=str(moved), **changes)
    with (moved / "weights.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x55")
    with pytest.raises(DigestError, match="altered"):
        fingerprint(weights=str(moved))


def test_a_folder_that_is_no_import_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.json.*import-model"):
        fingerprint(weights=str(tmp_path))


def test_figures_of_a_report_are_largest_and_mean_difference_of_each_label() -> None:
    from neuroconcepts_ray.classifier.parity import Parity, judge

    found = np.array([[1.0, 2.0], [3.0, 4.0]])
    one = Parity.of(found, found + np.array([[0.0, 0.1], [0.0, -0.3]]))
    assert one.largest.tolist() == pytest.approx([0, 0.3])
    assert one.mean.tolist() == pytest.approx([0, 0.2])
    assert judge(["a", "b"], 0.3 + 1e-9, one, one) is None
    assert isinstance(judge(["a", "b"], 0.29, one, None), InputError)


def test_the_file_that_is_written_holds_tensors_alone(place: Place) -> None:
    place()
    with safe_open(place.out / "weights.safetensors", "pt") as file:
        assert not file.metadata()
        assert all(file.get_tensor(name).is_contiguous() for name in file.keys())  # noqa: SIM118
