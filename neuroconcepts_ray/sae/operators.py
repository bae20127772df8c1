"""The sparse step in torch's operators, for any device; on a CPU :mod:`neuroconcepts_ray.sae.compiled` is faster.

Written for GPUs and held against the dense formulas and the compiled loops on a CPU; it has not run on a GPU yet.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from neuroconcepts_ray.sae.engine import Backward, Code, Decoded, Grouped, Prefixes, Slots
from neuroconcepts_ray.sae.objective import Weights
from neuroconcepts_ray.sae.optimise import Adam, remove_parallel
from neuroconcepts_ray.sae.team import blocks

WORKSPACE = 1 << 28
"""Bytes of what is computed for many entries at once; more are taken in blocks."""


def _sums(
    table: Float[Tensor, "r d"], index: Int[Tensor, " m"], start: Int[Tensor, " s1"], weight: Float[Tensor, " m"]
) -> Float[Tensor, "s d"]:
    """Σ weight_e table[index_e] over the entries of each segment, each summed in their order."""
    index = index.to(start.dtype)
    return embedding_bag(index, table, start, mode="sum", per_sample_weights=weight, include_last_offset=True)


def _products(
    left: Float[Tensor, "l d"], i: Int[Tensor, " m"], right: Float[Tensor, "r d"], j: Int[Tensor, " m"]
) -> Float[Tensor, " m"]:
    """left[i_e] · right[j_e] of each entry."""
    most = WORKSPACE // (2 * left.shape[1] * left.element_size())
    parts = [torch.linalg.vecdot(left[i[e]], right[j[e]]) for e in blocks(len(i), most)]
    return torch.cat(parts) if parts else left.new_empty(0)


def _owners(start: Int[Tensor, " b1"]) -> Int[Tensor, " m"]:
    """The row of each entry."""
    return torch.repeat_interleave(torch.arange(len(start) - 1, device=start.device), start.diff())


class Operators:
    """The engine of any device."""

    def inputs(self, w: Weights, x: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Inputs less b_dec."""
        return x - w["b_dec"]

    def _pre(self, w: Weights, x: Float[Tensor, "b d"], screen: bool) -> Float[Tensor, "b n"]:
        if screen:
            return torch.addmm(w["b_enc"].bfloat16(), x.bfloat16(), w["W_enc"].bfloat16().T)
        return torch.addmm(w["b_enc"], x, w["W_enc"].T)

    def topk(self, w: Weights, x: Float[Tensor, "b d"], k: int, screen: bool) -> Code:
        """The k largest positive pre-activations of each input."""
        values, latents = [], []
        for rows in blocks(len(x), WORKSPACE // (len(w["b_enc"]) * x.element_size())):
            top = self._pre(w, x[rows], screen).topk(k, dim=1, sorted=False)
            order = top.indices.argsort(dim=1)
            latents.append(top.indices.gather(1, order))
            values.append(top.values.gather(1, order).relu())
        start = torch.arange(len(x) + 1, device=x.device) * k
        code = Code(start, torch.cat(latents).view(-1), torch.cat(values).view(-1))
        return self.rescore(w, x, code) if screen else code

    def candidates(self, w: Weights, x: Float[Tensor, "b d"], most: int, screen: bool) -> Code:
        """All positive pre-activations of these inputs that reach the ``most``-th largest of a block of them."""
        counts, latents, values = [], [], []
        for rows in blocks(len(x), WORKSPACE // (len(w["b_enc"]) * x.element_size())):
            pre = self._pre(w, x[rows], screen).relu()
            floor = pre.flatten().topk(min(most, pre.numel()), sorted=False).values.min()
            # Not >=: what is not a number must stay, so that a training that diverged shows it.
            kept = ~((pre < floor) | (pre == 0))
            counts.append(kept.sum(dim=1))
            latents.append(kept.nonzero()[:, 1])
            values.append(pre[kept])
        start = torch.cat([counts[0].new_zeros(1), torch.cat(counts).cumsum(0)])
        return Code(start, torch.cat(latents), torch.cat(values))

    def rescore(self, w: Weights, x: Float[Tensor, "b d"], code: Code) -> Code:
        """The code with values ReLU(x · W_enc + b_enc) in the weights' precision."""
        pre = _products(x, _owners(code.start), w["W_enc"], code.latents) + w["b_enc"][code.latents]
        return Code(code.start, code.latents, pre.relu())

    def decode(self, w: Weights, x: Float[Tensor, "b d"], code: Code, prefixes: Prefixes) -> Decoded:
        """Residuals of all prefixes, and the gradients by each value."""
        (b, d), P = x.shape, len(prefixes.ends)
        # Segment (row, prefix) holds the entries of that row which are in that prefix and in none before.
        segment = _owners(code.start) * P + prefixes.level[code.latents]
        start = torch.searchsorted(segment, torch.arange(b * P + 1, device=x.device))
        parts = _sums(w["W_dec"], code.latents, start, code.values).view(b, P, d)
        left = x[:, None] - parts.cumsum(dim=1)
        residual = left.flip(1).cumsum(dim=1).flip(1)
        slopes = prefixes.scale * _products(residual.view(-1, d), segment, w["W_dec"], code.latents)
        slopes = torch.where(code.values == 0, 0, slopes)
        return Decoded(left.square().sum(dim=2), residual, slopes, residual[:, 0].sum(dim=0))

    def group(self, code: Code, decoded: Decoded, n: int) -> Grouped:
        """Entries by latent."""
        fires = (code.values != 0).nonzero().squeeze(1)
        order = fires[code.latents[fires].argsort(stable=True)]
        begin = torch.searchsorted(
            code.latents[order], torch.arange(n + 1, device=order.device, dtype=code.latents.dtype)
        )
        slopes = decoded.slopes[order]
        bias = _sums(slopes[:, None], torch.arange(len(order), device=order.device), begin, torch.ones_like(slopes))
        return Grouped(begin, _owners(code.start)[order], code.values[order], slopes, bias.squeeze(1))

    def gradients(self, w: Weights, backward: Backward) -> tuple[Weights, Float[Tensor, " d"]]:
        """Gradients of W_enc and W_dec, and Σ_j ∂L/∂b_enc,j W_enc,j without the auxiliary loss."""
        grouped, residual, prefixes = backward.grouped, backward.decoded.residual, backward.prefixes
        P, d = residual.shape[1:]
        level = prefixes.level.repeat_interleave(grouped.begin.diff())
        W_enc = _sums(backward.x, grouped.rows, grouped.begin, grouped.slopes)
        values = prefixes.scale * grouped.values
        W_dec = _sums(residual.view(-1, d), grouped.rows * P + level, grouped.begin, values)
        dead = (backward.extra.at >= 0).nonzero().squeeze(1)
        W_enc.index_add_(0, dead, backward.extra.W_enc[backward.extra.at[dead]])
        W_dec.index_add_(0, dead, backward.extra.W_dec[backward.extra.at[dead]])
        return {"W_enc": W_enc, "W_dec": W_dec}, grouped.bias @ w["W_enc"]

    def step(self, slots: Slots, grads: Weights) -> None:
        """Adam on W_enc and W_dec in place, W_dec without the gradient along its unit rows, and to unit rows."""
        W_dec = slots.w["W_dec"]
        grads = {**grads, "W_dec": remove_parallel(grads["W_dec"], W_dec)}
        for name in ("W_enc", "W_dec"):
            Adam().update(slots.w[name], slots.m[name], slots.v[name], grads[name], lr=slots.lr, step=slots.step)
        W_dec.div_(torch.linalg.vector_norm(W_dec, dim=1, keepdim=True))

    def gradients_and_step(self, slots: Slots, backward: Backward) -> Float[Tensor, " d"]:
        """Both; returns what :meth:`gradients` returns second."""
        grads, pull = self.gradients(slots.w, backward)
        self.step(slots, grads)
        return pull
