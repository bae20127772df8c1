"""A network as somebody publishes it: torchvision's DenseNet-121 with 14 outputs, its state dict, and what it says."""

import csv
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision import transforms

LABELS = [f"finding {number}" for number in range(14)]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def original(outputs: int = 14) -> nn.Module:
    """The network, its running statistics moved so that a wrong one would show."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: nn.Module = torchvision.models.densenet121(weights=None, num_classes=outputs)
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
