"""A network as somebody publishes it: a DenseNet of torchvision with 14 outputs, its state dict, and what it says."""

import csv
import importlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import transforms

LABELS = [f"finding {number}" for number in range(14)]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


DENSENET121 = ("torchvision.models:densenet121", {"num_classes": 14})
"""The factory of the published network, and its arguments."""

SMALL = (
    "torchvision.models.densenet:DenseNet",
    {"growth_rate": 4, "block_config": [2, 2, 2, 2], "num_init_features": 8, "num_classes": 14},
)
"""One of the same make, for all that needs no large one."""


def original(factory: str, kwargs: dict[str, object]) -> nn.Module:
    """The network, its running statistics moved so that a wrong one would show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module_name, _, name = factory.partition(":")
        network: nn.Module = getattr(importlib.import_module(module_name), name)(**kwargs)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -0.1, 0.1)
                nn.init.uniform_(module.weight, 0.8, 1.2)
    return network.eval()


def write_films(folder: Path, count: int) -> list[Path]:
    """Films of noise, higher than wide."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    files = [folder / f"film{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        Image.fromarray(rng.integers(0, 256, (90 + 9 * number, 80), dtype=np.uint8)).save(file)
    return files


def publish(folder: Path, factory: str, kwargs: dict[str, object], films: int) -> None:
    """Write chest.pth as DataParallel and a training script leave it, films, logits.csv and tensors.npz."""
    network = original(factory, kwargs)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 7, "state_dict": state, "best": 0.8}, folder / "chest.pth")
    say(network, write_films(folder / "films", films), folder, LABELS)


def say(network: nn.Module, files: list[Path], folder: Path, labels: list[str]) -> None:
    """Write logits.csv and tensors.npz as the original's own environment would: by torchvision's transforms."""
    steps = [transforms.Resize(72), transforms.CenterCrop(64), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    prepare = transforms.Compose(steps)
    x = torch.stack([prepare(Image.open(file).convert("RGB")) for file in files])
    with torch.inference_mode():
        logits = network(x).numpy()
    with (folder / "logits.csv").open("w", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(["image", *labels])
        writer.writerows([file.name, *row] for file, row in zip(files, logits.tolist(), strict=True))
    np.savez(folder / "tensors.npz", x=x.numpy(), logits=logits)
