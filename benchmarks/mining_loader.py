"""The peer of `make bench-mining`: the script that anyone would write, a torch DataLoader of two workers and timm.

python -m benchmarks.mining_loader ROOT resnet50 float32 512     # films
"""

import csv
import json
import sys
import time
from pathlib import Path

import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Films(Dataset[torch.Tensor]):
    def __init__(self, root: Path, count: int) -> None:
        with (root / "films.csv").open() as file:
            self.paths = [root / row["path"] for row in csv.DictReader(file)][:count]
        self.transform = transforms.Compose(
            [
                transforms.Resize(224),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.25,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        found: torch.Tensor = self.transform(Image.open(self.paths[row]).convert("RGB"))
        return found


def main() -> None:
    root, name, dtype, count = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    torch.set_num_threads(2)
    model = timm.create_model(name, pretrained=False, num_classes=1).eval()
    loader = DataLoader(Films(root, count), batch_size=32, num_workers=2)
    features = []
    began = time.perf_counter()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        for batch in loader:
            features.append(model.forward_head(model.forward_features(batch), pre_logits=True).float())
    torch.cat(features)
    print(json.dumps({"per_second": len(loader.dataset) / (time.perf_counter() - began)}))


if __name__ == "__main__":
    main()
