"""Our trainer and the bare operations that bound it, each in a process: ``python -m benchmarks.sae_ours <name>``."""

import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.sae_runs import Clock, Data, Fitted, Trainer, serve
from neuroconcepts_ray import __version__
from neuroconcepts_ray.sae.begin import begin
from neuroconcepts_ray.sae.config import SAEConfig
from neuroconcepts_ray.sae.data import Order, Resident
from neuroconcepts_ray.sae.family.build import objective
from neuroconcepts_ray.sae.fit import Member, fit
from neuroconcepts_ray.sae.fold import fold


class Timed(Resident):
    """Rows that tell the clock when a batch is asked for."""

    def __init__(self, x: Tensor, clock: Clock) -> None:
        super().__init__(x)
        self.clock = clock

    def batches(self, order: Order) -> Iterator[Tensor]:
        for x in super().batches(order):
            self.clock.batch()
            yield x


def ours(data: Data) -> Fitted:
    """The recommended settings are the defaults; equal ones as the peers have them."""
    task, start = data.task, data.task.read("begin")
    plan = {"lr": task.lr, "warmup": 0, "schedule": "constant"} if task.settings == "equal" else {}
    plan |= {"latents": task.n, "k": task.k, "seed": task.seed, "steps": data.steps, "batch_size": data.batch}
    config = SAEConfig(**{"precision": "float32", "checkpoint_every": data.steps} | plan | task.options)
    rows = Timed(data.x, data.clock)
    state = begin(rows, config)
    if task.settings == "equal" and start is not None:
        state.weights["W_enc"], state.weights["W_dec"] = start.clone(), start.clone()
    fit(rows, [Member(config, state)], lambda *_: None)
    data.clock.stop()
    sae = fold(state, objective(config, task.n).at(config.steps - 1))

    def reconstruct(x: Tensor) -> tuple[Tensor, Tensor]:
        z = sae.encode_dense(x)
        return sae.decode(z), z

    return Fitted(reconstruct, sae.W_dec)


def product(data: Data, dtype: torch.dtype) -> Fitted:
    """The encoder's product alone, once a step, the batch cast as a step would have to."""
    W = torch.nn.functional.normalize(torch.randn(data.task.n, data.x.shape[1]), dim=1).to(dtype)
    out = torch.empty(data.batch, data.task.n, dtype=dtype)
    for x in data.batches():
        torch.mm(x.to(dtype), W.T, out=out)
    data.clock.stop()
    return Fitted(lambda x: (x, x), W)


def float32(data: Data) -> Fitted:
    return product(data, torch.float32)


def bfloat16(data: Data) -> Fitted:
    return product(data, torch.bfloat16)


def adam(data: Data) -> Fitted:
    """torch's fused Adam alone over both matrices, once a step."""
    weights = [torch.randn(data.task.n, data.x.shape[1]).requires_grad_() for _ in range(2)]
    for weight in weights:
        weight.grad = weight.detach().clone()
    optimiser = torch.optim.Adam(weights, lr=1e-3, fused=True)
    for _ in data.batches():
        optimiser.step()
    data.clock.stop()
    return Fitted(lambda x: (x, x), weights[0].detach())


OURS: dict[str, Trainer] = {"ours": ours, "product-float32": float32, "product-bfloat16": bfloat16, "adam": adam}

if __name__ == "__main__":
    serve(OURS[sys.argv[1]], __version__)
