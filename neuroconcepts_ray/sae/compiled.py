"""The sparse step on a CPU: torch's product, and compiled loops for all else."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from neuroconcepts_ray.sae import kernels, winners
from neuroconcepts_ray.sae.engine import Backward, Code, Decoded, Extra, Grouped, Prefixes, Slots
from neuroconcepts_ray.sae.objective import Weights
from neuroconcepts_ray.sae.optimise import Adam
from neuroconcepts_ray.sae.team import PIECES, blocks, share

WORKSPACE = 1 << 26
"""Bytes of pre-activations at once; more inputs than they hold are taken in blocks."""

LANES = 32
"""Columns that a product in bfloat16 likes in multiples."""

_BITS = {torch.bfloat16: (torch.int16, 7), torch.float32: (torch.int32, 23), torch.float64: (torch.int64, 52)}
"""Integers as wide as a float, and the bits of its mantissa."""


def bits(values: Float[Tensor, "..."]) -> Int[np.ndarray, "..."]:
    """The same memory as signed integers."""
    seen: Int[np.ndarray, "..."] = values.view(_BITS[values.dtype][0]).numpy()
    return seen


def limits(dtype: torch.dtype) -> tuple[Any, Any]:
    """The bits of −0 and of ∞, as numpy's integers."""
    integer, mantissa = _BITS[dtype]
    info = torch.iinfo(integer)
    low, infinity = torch.tensor([info.min, info.max >> mantissa << mantissa], dtype=integer).numpy()
    return low, infinity


class Compiled:
    """The engine of a CPU; its memory serves one step after the other, for fresh memory costs more than its use."""

    def __init__(self) -> None:
        self._memory: dict[str, Tensor] = {}

    def _space(self, name: str, *shape: int, dtype: torch.dtype) -> Tensor:
        size = int(np.prod(shape))
        kept = self._memory.get(name)
        if kept is None or len(kept) < size or kept.dtype != dtype:
            kept = self._memory[name] = torch.empty(size, dtype=dtype)
        return kept[:size].view(*shape)

    def inputs(self, w: Weights, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Inputs less b_dec."""
        return torch.sub(x, w["b_dec"], out=self._space("x", *x.shape, dtype=x.dtype))

    def _wide(self, name: str, rows: Float[Tensor, "r d"], *columns: Float[Tensor, " r"] | float) -> Tensor:
        """Rows in bfloat16 with columns beside them."""
        r, d = rows.shape
        wide = self._space(name, r, -(-(d + len(columns)) // LANES) * LANES, dtype=torch.bfloat16)
        wide[:, :d] = rows
        wide[:, d:] = 0
        for at, column in enumerate(columns):
            wide[:, d + at] = column
        return wide

    def _pre(self, w: Weights, x: Float[Tensor, "b d"], screen: bool) -> Iterator[tuple[slice, Float[Tensor, "r n"]]]:
        """Pre-activations of blocks of inputs, each with its slice."""
        n = len(w["b_enc"])
        dtype = torch.bfloat16 if screen else x.dtype
        most = max(1, WORKSPACE // (n * dtype.itemsize))
        if screen:
            # The bias enters as two columns, what bfloat16 has of it and what that leaves.
            high = w["b_enc"].to(torch.bfloat16)
            right = self._wide("W_enc", w["W_enc"], high, w["b_enc"] - high)
            left = self._wide("x16", x, 1.0, 1.0)
        for rows in blocks(len(x), most):
            out = self._space("pre", rows.stop - rows.start, n, dtype=dtype)
            if screen:
                torch.mm(left[rows], right.T, out=out)
            else:
                torch.addmm(w["b_enc"], x[rows], w["W_enc"].T, out=out)
            yield rows, out

    def topk(self, w: Weights, x: Float[Tensor, "b d"], k: int, screen: bool) -> Code:
        """The k largest positive pre-activations of each input; of equals the lowest latents."""
        b, dtype = len(x), torch.bfloat16 if screen else x.dtype
        latents = self._space("latents", b, k, dtype=torch.int32)
        values = self._space(f"values {dtype}", b, k, dtype=dtype)
        for rows, pre in self._pre(w, x, screen):
            out = latents[rows].numpy(), bits(values[rows])
            share(winners.winners, len(pre), bits(pre), *limits(dtype), k, *out)
        code = Code(torch.arange(b + 1) * k, latents.view(-1), values.view(-1))
        return self.rescore(w, x, code) if screen else code

    def candidates(self, w: Weights, x: Float[Tensor, "b d"], most: int, screen: bool) -> Code:
        """All positive pre-activations that reach the ``most``-th largest maximum of neighbours, and so it itself."""
        b, n, dtype = len(x), len(w["b_enc"]), torch.bfloat16 if screen else x.dtype
        low, infinity = limits(dtype)
        integer = _BITS[dtype][0]
        counts = np.zeros(b, np.int64)
        peak = self._space("peak", b, -(-n // winners.CHUNK), dtype=integer).numpy()
        latents, values = [], []
        for rows, pre in self._pre(w, x, screen):
            share(winners.peaks, len(pre), bits(pre), low, infinity, peak[rows])
            seen = peak[: rows.stop].reshape(-1)
            floor = winners.kth(seen, most, low.dtype.type(1), np.iinfo(low.dtype).max)
            for some, found in share(winners.reaching, len(pre), bits(pre), peak[rows], floor, counts[rows]):
                latents.append(torch.from_numpy(some))
                values.append(torch.from_numpy(found))
        start = torch.zeros(b + 1, dtype=torch.int64)
        torch.cumsum(torch.from_numpy(counts), 0, out=start[1:])
        return Code(start, torch.cat(latents), torch.cat(values).view(dtype))

    def rescore(self, w: Weights, x: Float[Tensor, "b d"], code: Code) -> Code:
        """The code with values ReLU(x · W_enc + b_enc) in the weights' precision."""
        values = self._space("rescored", len(code.latents), dtype=x.dtype)
        entries = code.start.numpy(), code.latents.numpy()
        share(kernels.rescore, len(x), *entries, x.numpy(), w["W_enc"].numpy(), w["b_enc"].numpy(), values.numpy())
        return Code(code.start, code.latents, values)

    def decode(self, w: Weights, x: Float[Tensor, "b d"], code: Code, prefixes: Prefixes) -> Decoded:
        """Residuals of all prefixes, and the gradients by each value."""
        (b, d), P = x.shape, len(prefixes.ends)
        residual = self._space("residual", b, P, d, dtype=x.dtype)
        squares, slopes = x.new_empty(b, P), self._space("slopes", len(code.latents), dtype=x.dtype)
        total = x.new_zeros(PIECES, d)
        scale = x.numpy().dtype.type(prefixes.scale)
        entries = code.start.numpy(), code.latents.numpy(), code.values.numpy()
        read = x.numpy(), w["W_dec"].numpy(), prefixes.ends.numpy(), scale
        written = residual.numpy(), squares.numpy(), slopes.numpy(), total.numpy()
        share(kernels.decode, b, *entries, *read, *written, numbered=True)
        return Decoded(squares, residual, slopes, total.sum(dim=0))

    def group(self, code: Code, decoded: Decoded, n: int) -> Grouped:
        """Entries by latent."""
        m, dtype = len(code.latents), code.values.dtype
        begin, bias = torch.empty(n + 1, dtype=torch.int64), code.values.new_empty(n)
        rows = self._space("grouped rows", m, dtype=torch.int32)
        values, slopes = (self._space(f"grouped {name}", m, dtype=dtype) for name in ("values", "slopes"))
        read = code.start, code.latents, code.values, decoded.slopes
        kernels.group(*(tensor.numpy() for tensor in (*read, begin, rows, values, slopes, bias)))
        return Grouped(begin, rows, values, slopes, bias)

    def gradients(self, w: Weights, backward: Backward) -> tuple[Weights, Float[Tensor, " d"]]:
        """Gradients of W_enc and W_dec, and Σ_j ∂L/∂b_enc,j W_enc,j without the auxiliary loss."""
        grads = {name: self._space(f"grad {name}", *w[name].shape, dtype=w[name].dtype) for name in ("W_enc", "W_dec")}
        return grads, _update(Slots(w, w, w, 0.0, 1), backward, grads, make=True, apply=False)

    def step(self, slots: Slots, grads: Weights) -> None:
        """Adam on W_enc and W_dec in place, W_dec without the gradient along its unit rows, and to unit rows."""
        _update(slots, _nothing(slots.w["W_enc"]), grads, make=False, apply=True)

    def gradients_and_step(self, slots: Slots, backward: Backward) -> Float[Tensor, " d"]:
        """Both in one pass over the weights; returns what :meth:`gradients` returns second."""
        d, dtype = slots.w["W_enc"].shape[1], slots.w["W_enc"].dtype
        grads = {name: self._space(f"row {name}", PIECES, d, dtype=dtype) for name in ("W_enc", "W_dec")}
        return _update(slots, backward, grads, make=True, apply=True)


def _update(slots: Slots, backward: Backward, grads: Weights, *, make: bool, apply: bool) -> Float[Tensor, " d"]:
    """:func:`neuroconcepts_ray.sae.kernels.update` over all latents; the sum of what it pulls at b_dec."""
    W_enc, grouped, extra = slots.w["W_enc"], backward.grouped, backward.extra
    (n, d), real = W_enc.shape, W_enc.numpy().dtype.type
    pull = W_enc.new_zeros(PIECES, d)
    size, epsilon = Adam().constants(slots.lr, slots.step)
    entries = grouped.begin, grouped.rows, grouped.values, grouped.slopes, backward.prefixes.level
    residual = backward.decoded.residual
    share(
        kernels.update,
        n,
        make,
        apply,
        tuple(tensor.numpy() for tensor in entries),
        tuple(tensor.numpy() for tensor in (extra.at, extra.W_enc, extra.W_dec)),
        backward.x.numpy(),
        (residual.view(-1, d).numpy(), residual.shape[1]),
        real(backward.prefixes.scale),
        (grads["W_enc"].numpy(), grads["W_dec"].numpy()),
        pull.numpy(),
        tuple(part["W_enc"].numpy() for part in (slots.w, slots.m, slots.v)),
        tuple(part["W_dec"].numpy() for part in (slots.w, slots.m, slots.v)),
        tuple(real(value) for value in (Adam.beta1, Adam.beta2, size, epsilon)),
        numbered=True,
    )
    return pull.sum(dim=0)


def _nothing(W_enc: Float[Tensor, "n d"]) -> Backward:
    """A step in which nothing fires: for gradients that are there already."""
    n, d = W_enc.shape
    none, rows = W_enc.new_empty(0), torch.empty(0, dtype=torch.int32)
    ends = torch.tensor([n])
    return Backward(
        x=none.view(0, d),
        decoded=Decoded(none.view(0, 1), none.view(0, 1, d), none, W_enc.new_zeros(d)),
        grouped=Grouped(torch.zeros(n + 1, dtype=torch.int64), rows, none, none, W_enc.new_zeros(n)),
        prefixes=Prefixes(ends, torch.zeros(n, dtype=torch.int32), 0.0),
        extra=Extra.none(W_enc),
    )
