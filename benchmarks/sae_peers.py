"""One peer in a process of its own, under the peers' Python: ``python -m benchmarks.sae_peers <peer>``.

Own settings are those that each library has as defaults or shows in its documentation; a warm-up longer than a tenth of
the training is cut to that, which is in the peers' favour. Batches come centred and with unit variance, for two of them
have no decoder bias from the data. Equal settings: Adam at one rate, no warm-up, the same initial weights for all
whose encoder is a plain matrix.
"""

import os
import sys
from importlib.metadata import version
from typing import Any

os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # with triton importable it takes the decoder that only CUDA has

import torch
from torch import Tensor

from benchmarks.sae_runs import Data, Fitted, Trainer, serve

RATE_AT_16K = 2e-4
"""Adam's rate at n = 16,384 after Gao et al.; sparsify and dictionary-learning scale it by 1/√n."""


def given(data: Data) -> Tensor | None:
    return data.task.read("begin") if data.task.settings == "equal" else None


def sae_lens(data: Data, *, sparse: bool = False) -> Fitted:
    from sae_lens import SAETrainer, TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.config import LoggingConfig, SAETrainerConfig

    task, start = data.task, given(data)
    # Its sparse activations cannot go back through the rescaling on a processor.
    options: dict[str, Any] = {"use_sparse_activations": True, "rescale_acts_by_decoder_norm": False} if sparse else {}
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=data.x.shape[1], d_sae=task.n, k=task.k, device="cpu", **options))
    if start is not None:
        sae.W_enc.data, sae.W_dec.data = start.T.contiguous(), start.clone()
    rate = task.lr if task.settings == "equal" else 3e-4  # its default
    config = SAETrainerConfig(
        total_training_samples=data.steps * data.batch,
        train_batch_size_samples=data.batch,
        device="cpu",
        logger=LoggingConfig(log_to_wandb=False),
        lr=rate,
        lr_end=rate,
    )
    SAETrainer(cfg=config, sae=sae, data_provider=data.batches()).fit()
    data.clock.stop()
    sae.eval()

    def reconstruct(x: Tensor) -> tuple[Tensor, Tensor]:
        z = sae.encode(x)
        return sae.decode(z), z.to_dense() if z.is_sparse else z

    return Fitted(reconstruct, sae.W_dec.detach())


def sae_lens_sparse(data: Data) -> Fitted:
    return sae_lens(data, sparse=True)


def sparsify(data: Data, *, signum: bool = False) -> Fitted:
    """Its Trainer wants a language model; these are its steps in its order, on its own coder."""
    from sparsify import SparseCoder, SparseCoderConfig

    task, start = data.task, given(data)
    coder = SparseCoder(data.x.shape[1], SparseCoderConfig(num_latents=task.n, k=task.k), dtype=torch.float32)
    if start is not None:
        coder.encoder.weight.data, coder.W_dec.data = start.clone(), start.clone()
    scheduler = None
    scale = (task.n / 2**14) ** 0.5
    if signum:
        from schedulefree import ScheduleFreeWrapper
        from sparsify.sign_sgd import SignSGD

        # The default optimiser of the library, always at its own rate: Adam's would mean another thing to it.
        optimiser = ScheduleFreeWrapper(SignSGD([{"params": [*coder.parameters()], "lr": 5e-3 / scale}]), momentum=0.95)
        optimiser.train()
    elif task.settings == "equal":
        optimiser = torch.optim.Adam(coder.parameters(), lr=task.lr)
    else:
        from transformers import get_linear_schedule_with_warmup

        optimiser = torch.optim.Adam(coder.parameters(), lr=RATE_AT_16K / scale)
        scheduler = get_linear_schedule_with_warmup(optimiser, min(1000, data.steps // 10), data.steps)
    since = torch.zeros(task.n, dtype=torch.long)
    for step, x in enumerate(data.batches()):
        if step == 0:
            coder.b_dec.data = x.mean(dim=0)
        coder.set_decoder_norm_to_unit_norm()
        out = coder(x, dead_mask=None)  # its auxk_alpha is 0 by default
        out.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        if scheduler is not None:
            scheduler.step()
        since += len(x)
        since[out.latent_indices.flatten()] = 0
    data.clock.stop()
    if signum:
        optimiser.eval()

    def reconstruct(x: Tensor) -> tuple[Tensor, Tensor]:
        top = coder.encode(x)
        z = torch.zeros(len(x), task.n).scatter_(1, top.top_indices, top.top_acts)
        return coder.decode(top.top_acts, top.top_indices), z

    return Fitted(reconstruct, coder.W_dec.detach())


def sparsify_signum(data: Data) -> Fitted:
    return sparsify(data, signum=True)


def overcomplete(data: Data) -> Fitted:
    import matplotlib as mpl
    import matplotlib.cm

    if not hasattr(matplotlib.cm, "get_cmap"):  # it asks for the name at import; matplotlib 3.11 has it no more
        matplotlib.cm.get_cmap = lambda name, lut=None: mpl.colormaps[name]  # noqa: ARG005
    from overcomplete.sae import TopKSAE, train_sae

    task = data.task
    sae = TopKSAE(data.x.shape[1], nb_concepts=task.n, top_k=task.k, device="cpu")

    def criterion(x: Tensor, x_hat: Tensor, *_: Tensor) -> Tensor:
        return (x - x_hat).square().mean()

    rate = task.lr if task.settings == "equal" else 5e-4  # as its first example has it
    train_sae(sae, data.batches(), criterion, torch.optim.Adam(sae.parameters(), lr=rate), nb_epochs=1, device="cpu")
    data.clock.stop()
    sae.eval()

    def reconstruct(x: Tensor) -> tuple[Tensor, Tensor]:
        _, z = sae.encode(x)
        return sae.decode(z), z

    return Fitted(reconstruct, sae.get_dictionary().detach())


def dictionary_learning(data: Data) -> Fitted:
    from dictionary_learning.trainers.top_k import AutoEncoderTopK, TopKTrainer

    task, start, steps = data.task, given(data), data.steps
    equal = task.settings == "equal"
    # Its scripts let the rate fall over the last fifth.
    plan: dict[str, Any] = {"lr": task.lr, "warmup_steps": 0} if equal else {"warmup_steps": min(1000, steps // 10)}
    if not equal and steps >= 20:
        plan["decay_start"] = steps * 4 // 5
    trainer = TopKTrainer(
        steps=steps + 1,
        activation_dim=data.x.shape[1],
        dict_size=task.n,
        k=task.k,
        layer=0,
        lm_name="none",
        dict_class=AutoEncoderTopK,
        seed=task.seed,
        device="cpu",
        **plan,
    )
    if start is not None:
        trainer.ae.encoder.weight.data, trainer.ae.decoder.weight.data = start.clone(), start.T.contiguous()
    for step, x in enumerate(data.batches()):
        trainer.update(step, x)
    data.clock.stop()

    def reconstruct(x: Tensor) -> tuple[Tensor, Tensor]:
        z = trainer.ae.encode(x)
        return trainer.ae.decode(z), z

    return Fitted(reconstruct, trainer.ae.decoder.weight.detach().T)


PEERS: dict[str, tuple[Trainer, str]] = {
    "sae-lens": (sae_lens, "sae-lens"),
    "sae-lens-sparse": (sae_lens_sparse, "sae-lens"),
    "sparsify": (sparsify, "eai-sparsify"),
    "sparsify-signum": (sparsify_signum, "eai-sparsify"),
    "overcomplete": (overcomplete, "overcomplete"),
    "dictionary-learning": (dictionary_learning, "dictionary-learning"),
}

if __name__ == "__main__":
    chosen, distribution = PEERS[sys.argv[1]]
    serve(chosen, version(distribution))
