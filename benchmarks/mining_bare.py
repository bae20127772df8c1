"""The floor of `make bench-mining`: the same network, dtype, threads and batch on tensors in memory, and nothing else.

python -m benchmarks.mining_bare resnet50 bfloat16 40      # seconds
"""

import json
import sys
import time

import timm
import torch

BATCH, THREADS = 32, 2


def main() -> None:
    name, dtype, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    torch.set_num_threads(THREADS)
    model = timm.create_model(name, pretrained=False, num_classes=1).eval().to(memory_format=torch.channels_last)
    batches = [torch.randn(BATCH, 3, 224, 224).contiguous(memory_format=torch.channels_last) for _ in range(4)]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
        for x in batches:
            model(x)
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            model(batches[done % len(batches)])
            done += 1
        spent = time.perf_counter() - began
    print(json.dumps({"per_second": done * BATCH / spent}))


if __name__ == "__main__":
    main()
