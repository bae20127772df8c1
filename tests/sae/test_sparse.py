"""The sparse step against the dense formulas: losses, every gradient, and the step that follows from them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

import numpy as np
import pytest
import torch

from neuroconcepts_ray.sae import compiled, operators, sparse
from neuroconcepts_ray.sae.compiled import Compiled
from neuroconcepts_ray.sae.engine import Code, Engine, Prefixes
from neuroconcepts_ray.sae.family.auxk import AuxK
from neuroconcepts_ray.sae.family.batchtopk import BatchTopKObjective
from neuroconcepts_ray.sae.family.matryoshka import MatryoshkaObjective
from neuroconcepts_ray.sae.family.topk import TopKObjective
from neuroconcepts_ray.sae.objective import Moment, Weights
from neuroconcepts_ray.sae.operators import Operators
from neuroconcepts_ray.sae.optimise import normalise
from neuroconcepts_ray.sae.sparse import Sparse, sparse_gradients
from neuroconcepts_ray.sae.step import dense_gradients

AUX = AuxK(4, 0.3)
MEMBERS: dict[str, Callable[[int, int], Sparse]] = {
    "topk": lambda k, n: TopKObjective(k, AUX),  # noqa: ARG005
    "batchtopk": lambda k, n: BatchTopKObjective(k, AUX),  # noqa: ARG005
    "matryoshka": lambda k, n: MatryoshkaObjective(k, AUX, prefixes=(n // 5, n // 2, n)),
}
ENGINES = {"compiled": Compiled, "operators": Operators}

members = pytest.mark.parametrize("member", MEMBERS)
engines = pytest.mark.parametrize("engine", ENGINES)


def weights(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Weights:
    g = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (n, d), "b_enc": (n,), "W_dec": (n, d), "b_dec": (d,)}
    w = {name: torch.randn(*shape, generator=g, dtype=torch.float64) for name, shape in shapes.items()}
    w["b_enc"] /= 4
    w["W_dec"] = normalise(w["W_dec"])
    return {name: tensor.to(dtype) for name, tensor in w.items()}


def inputs(b: int, d: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(b, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def every(n: int, third: bool) -> torch.Tensor:
    return (torch.arange(n) % 3 == 0) & third


def compare(objective: Sparse, engine: Engine, w: Weights, x: torch.Tensor, moment: Moment) -> None:
    dense, expected = dense_gradients(objective, w, x, moment)
    losses, grads = sparse_gradients(engine, objective, w, x, moment, screen=False)
    for name in ("total", "reconstruction", "l0"):
        torch.testing.assert_close(getattr(losses, name).double(), getattr(dense, name).detach().double())
    assert torch.equal(losses.fired, dense.fired)
    assert losses.observed == dense.observed
    assert grads.keys() == expected.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-12, atol=1e-14)


@engines
@members
@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize(
    ("b", "n", "k", "lower"), [(37, 77, 5, 0.0), (1, 40, 3, 0.0), (9, 64, 64, 0.0), (20, 50, 6, 5.0), (5, 30, 2, 99.0)]
)
def test_losses_and_all_gradients_are_those_of_the_dense_formula(
    engine: str, member: str, dead: bool, b: int, n: int, k: int, lower: float
) -> None:
    w, x = weights(n, 19), inputs(b, 19)
    w["b_enc"] -= lower  # fewer than k positive, or none at all
    compare(MEMBERS[member](k, n), ENGINES[engine](), w, x, Moment(every(n, dead), b))


@engines
@members
def test_blocks_of_inputs_change_nothing(engine: str, member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "WORKSPACE", 1 << 12)
    monkeypatch.setattr(operators, "WORKSPACE", 1 << 12)
    w, x = weights(77, 19), inputs(37, 19)
    compare(MEMBERS[member](5, 77), ENGINES[engine](), w, x, Moment(every(77, True), 37))


@engines
@pytest.mark.parametrize("member", ["batchtopk", "matryoshka"])
def test_of_a_batch_all_that_equal_the_smallest_fire(engine: str, member: str) -> None:
    w, x = weights(12, 7), inputs(3, 7).repeat(4, 1)  # every value four times
    compare(MEMBERS[member](2, 12), ENGINES[engine](), w, x, Moment(every(12, False), 12))


def test_of_equals_in_a_row_the_lowest_latents_fire() -> None:
    w, x = weights(40, 7), inputs(6, 7)
    for name in ("W_enc", "b_enc", "W_dec"):
        w[name][20:] = w[name][:20]
    dense, _ = dense_gradients(TopKObjective(3, AUX), w, x, Moment(every(40, False), 6))
    losses, _ = sparse_gradients(Compiled(), TopKObjective(3, AUX), w, x, Moment(every(40, False), 6), screen=False)
    torch.testing.assert_close(losses.total, dense.total.detach())
    pre = ((x - w["b_dec"]) @ w["W_enc"].T + w["b_enc"]).numpy()
    code = Compiled().topk(w, x - w["b_dec"], 3, False)
    for row, latents in zip(pre, code.latents.view(6, 3).tolist(), strict=True):
        assert latents == sorted(sorted(range(40), key=lambda j: (-row[j], j))[:3])


class Two:
    """Two workers in two threads."""

    size = 2

    def __init__(self, rank: int, barrier: Barrier, slots: list[torch.Tensor | None]) -> None:
        self.rank, self.barrier, self.slots = rank, barrier, slots

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        self.slots[self.rank] = tensor
        self.barrier.wait(60)
        both = torch.cat([slot for slot in self.slots if slot is not None])
        self.barrier.wait(60)
        return both

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.gather(tensor[None]).sum(dim=0)

    def max(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.gather(tensor[None]).amax(dim=0)


@engines
@members
def test_the_gradients_of_two_workers_sum_to_those_of_one(engine: str, member: str) -> None:
    w, x, objective = weights(50, 19), inputs(24, 19), MEMBERS[member](4, 50)
    x[::2] *= 3  # one worker holds more of the largest
    dense, expected = dense_gradients(objective, w, x, Moment(every(50, True), 24))
    barrier, slots = Barrier(2), [None, None]

    def work(rank: int) -> tuple[float, Weights]:
        moment = Moment(every(50, True), 24, Two(rank, barrier, slots))
        losses, grads = sparse_gradients(ENGINES[engine](), objective, w, x[rank::2].contiguous(), moment, screen=False)
        return float(losses.total), grads

    with ThreadPoolExecutor(2) as pool:
        (a, one), (b, two) = pool.map(work, range(2))
    assert a + b == pytest.approx(float(dense.total.detach()), rel=1e-12)
    for name, grad in expected.items():
        torch.testing.assert_close(one[name] + two[name], grad, rtol=1e-12, atol=1e-14)


@engines
@members
def test_bfloat16_chooses_and_float32_computes(engine: str, member: str) -> None:
    b, n, d, k = 64, 300, 48, 6
    w, x = weights(n, d, dtype=torch.float32), inputs(b, d, dtype=torch.float32)
    made = ENGINES[engine]()
    objective, moment = MEMBERS[member](k, n), Moment(every(n, False), b)
    part = sparse.forward(made, objective, w, x, moment, screen=True)
    exact = (x.double() - w["b_dec"].double()) @ w["W_enc"].double().T + w["b_enc"].double()
    grouped = part.backward.grouped
    latents = torch.arange(n).repeat_interleave(grouped.begin.diff())
    values = exact[grouped.rows.long(), latents]
    torch.testing.assert_close(grouped.values.double(), values, rtol=1e-5, atol=1e-5)
    assert (grouped.values.bfloat16() != grouped.values).float().mean() > 0.9
    # No winner lies further below what should have won than the rounding of bfloat16 may take it.
    if member == "topk":
        assert torch.equal(torch.bincount(grouped.rows.long(), minlength=b), torch.full((b,), k))
        bound = exact.topk(k, dim=1).values[grouped.rows.long(), -1]
    else:
        assert len(latents) == b * k
        bound = exact.flatten().topk(b * k).values[-1]
    assert (values > bound - exact.abs().max() / 64).all()
    assert (values >= bound).float().mean() > 0.97


@members
@pytest.mark.parametrize("screen", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", ["W_enc", "W_dec", "b_dec", "x"])
def test_what_is_not_a_number_is_seen_in_the_loss(member: str, screen: bool, sign: float, name: str) -> None:
    w, x = weights(70, 40, dtype=torch.float32), inputs(16, 40, dtype=torch.float32)
    where = {**w, "x": x}[name]
    where[-1] = torch.copysign(torch.tensor(torch.nan), torch.tensor(sign))
    if name == "W_dec":
        w["b_enc"][-1] = 99.0  # it fires
    losses, _ = sparse_gradients(Compiled(), MEMBERS[member](3, 70), w, x, Moment(every(70, False), 16), screen=screen)
    assert torch.isnan(losses.reconstruction)


@dataclass
class Steps:
    """Results of all stages after the product, for one number of threads."""

    tensors: list[torch.Tensor]


def stages(threads: int) -> Steps:
    b, n, d, k = 200, 333, 40, 7
    w, x = weights(n, d, dtype=torch.float32), inputs(b, d, dtype=torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        engine = Compiled()
        rng = np.random.default_rng(0)
        latents = np.sort(np.argsort(rng.random((b, n)), axis=1)[:, :k], axis=1).astype(np.int32)
        code = Code(torch.arange(b + 1) * k, torch.from_numpy(latents).view(-1), torch.zeros(b * k))
        code = engine.rescore(w, x, code)
        decoded = engine.decode(w, x, code, Prefixes.of((100, n), x, b))
        grouped = engine.group(code, decoded, n)
        tensors = [code.values, decoded.squares, decoded.residual, decoded.slopes, decoded.total, grouped.bias]
        made = sparse.Backward(x, decoded, grouped, Prefixes.of((100, n), x, b), sparse.Extra.none(w["W_enc"]))
        grads, pull = engine.gradients(w, made)
        return Steps([tensor.clone() for tensor in (*tensors, *grads.values(), pull)])
    finally:
        torch.set_num_threads(before)


def test_the_number_of_threads_changes_no_bit() -> None:
    one, two = stages(1), stages(2)
    assert all(torch.equal(a, b) for a, b in zip(one.tensors, two.tensors, strict=True))
