"""SAELens and sparsify in a process of their own.

``python sae_formats_peers.py make FOLDER [d n k rows]``: checkpoints of every architecture, made and saved by the
libraries, small unless said otherwise, each with ``io.safetensors``: inputs x, and the library's codes z and
reconstructions x_hat of them.

``python sae_formats_peers.py answer FOLDER``: for each checkpoint under FOLDER with inputs ``x.safetensors``, what the
library that can load it says: ``answer.safetensors``.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
warnings.filterwarnings("ignore")

import torch  # noqa: E402
from sae_lens import SAE, TrainingSAE  # noqa: E402
from sae_lens.saes.sae import SAEMetadata  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from sparsify import SparseCoder, SparseCoderConfig  # noqa: E402

D, N, K, ROWS = (int(one) for one in sys.argv[3:]) if len(sys.argv) > 3 else (8, 24, 4, 12)


def scramble(module: Any, seed: int) -> None:
    """Weights as no initialisation leaves them: biases, decoder rows of all norms, one of a standard SAE zero."""
    made = torch.Generator().manual_seed(seed)
    for name, tensor in module.named_parameters():
        shape = 0.5 if tensor.ndim == 2 else 0.3
        tensor.data.copy_(shape * torch.randn(tensor.shape, generator=made))
        if "threshold" in name:
            tensor.data.abs_()
            tensor.data[:3].neg_()  # below zero a threshold lets nothing negative pass all the same
    module.W_dec.data.mul_(torch.linspace(0.3, 3, len(module.W_dec))[:, None])
    if type(module).__name__ == "StandardSAE":
        module.W_dec.data[5] = 0


def inputs(seed: int) -> torch.Tensor:
    return torch.randn(ROWS, D, generator=torch.Generator().manual_seed(100 + seed))


def sae_lens_config(architecture: str, **fields: Any) -> dict[str, Any]:
    metadata = SAEMetadata(hook_name="pre_logits").to_dict()
    return {"architecture": architecture, "d_in": D, "d_sae": N, "device": "cpu", "metadata": metadata, **fields}


def sae_lens_answer(folder: Path, x: torch.Tensor, heads: int = 0) -> dict[str, torch.Tensor]:
    """Codes, their decoder norms folded where the library can, and reconstructions from the checkpoint as it is."""
    with torch.no_grad():
        plain = SAE.load_from_disk(folder, dtype="float32")
        given = x if not heads else x.reshape(len(x), heads, -1)
        ranked = plain.cfg.architecture() == "topk" and not plain.cfg.rescale_acts_by_decoder_norm
        folded = SAE.load_from_disk(folder, dtype="float32", fold_W_dec_norm=not ranked)
        return {"z": folded.encode(given), "x_hat": plain(given).reshape(len(x), -1).contiguous()}


def make_sae_lens(folder: Path) -> None:
    raw = {"apply_b_dec_to_input": False}
    cases: dict[str, dict[str, Any]] = {
        "standard": sae_lens_config("standard"),
        "standard-raw": sae_lens_config("standard", **raw),
        "standard-heads": sae_lens_config("standard", reshape_activations="hook_z"),
        "topk": sae_lens_config("topk", k=K),
        "topk-raw": sae_lens_config("topk", k=K, **raw),
        "topk-rescaled": sae_lens_config("topk", k=K, rescale_acts_by_decoder_norm=True),
        "topk-rescaled-raw": sae_lens_config("topk", k=K, rescale_acts_by_decoder_norm=True, **raw),
        "jumprelu": sae_lens_config("jumprelu"),
        "jumprelu-raw": sae_lens_config("jumprelu", **raw),
        "jumprelu-bfloat16": sae_lens_config("jumprelu", dtype="bfloat16"),
        "gated": sae_lens_config("gated"),
        "gated-raw": sae_lens_config("gated", **raw),
    }
    cases["standard-heads"]["metadata"]["hook_name"] = "blocks.0.attn.hook_z"
    for seed, (name, config) in enumerate(cases.items()):
        sae = SAE.from_dict(config)
        scramble(sae, seed)
        place = folder / f"saelens-{name}"
        sae.save_model(place)
        x = inputs(seed)
        save_file({"x": x, **sae_lens_answer(place, x, heads=2 if "heads" in name else 0)}, place / "io.safetensors")
    # A checkpoint in the course of a training, and what the library makes of it for use: both are one SAE.
    for seed, (name, rescale) in enumerate((("batchtopk", True), ("batchtopk", False), ("matryoshka_batchtopk", True))):
        more = {"matryoshka_widths": [N // 4, N]} if name.startswith("matryoshka") else {}
        config = sae_lens_config(name, k=float(K), rescale_acts_by_decoder_norm=rescale, **more)
        trained = TrainingSAE.from_dict(config)
        scramble(trained, 50 + seed)
        trained.topk_threshold.fill_(0.7)
        short = f"saelens-{name}{'-rescaled' if rescale else ''}"
        trained.save_inference_model(folder / short)
        trained.save_model(folder / f"{short}-training")
        x = inputs(50 + seed)
        answer = {"x": x, **sae_lens_answer(folder / short, x)}
        for place in (folder / short, folder / f"{short}-training"):
            save_file(answer, place / "io.safetensors")
    make_old(folder)


def make_old(folder: Path) -> None:
    """The config of version 3 around the tensors of today."""
    for name, function in (("standard", {"activation_fn_str": "relu"}), ("topk", {"activation_fn_str": "topk"})):
        place = folder / f"saelens-old-{name}"
        place.mkdir()
        old = {"model_name": "none", "hook_name": "pre_logits", "d_in": D, "d_sae": N, "dtype": "torch.float32"}
        old |= {"device": "cpu", "normalize_activations": False, "apply_b_dec_to_input": True, **function}
        old |= {"activation_fn_kwargs": {"k": K}} if name == "topk" else {"activation_fn_kwargs": {}}
        (place / "cfg.json").write_text(json.dumps(old | {"hook_layer": 0, "sae_lens_training_version": "3.22.1"}))
        tensors = load_file(folder / f"saelens-{name}" / "sae_weights.safetensors")
        save_file(tensors, place / "sae_weights.safetensors")
        x = inputs(80)
        save_file({"x": x, **sae_lens_answer(place, x)}, place / "io.safetensors")


def sparsify_answer(folder: Path, x: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        sae = SparseCoder.load_from_disk(folder)
        values, latents, _ = sae.encode(x)
        z = torch.zeros(len(x), sae.num_latents).scatter(1, latents, values)
        return {"z": z, "x_hat": sae.decode(values, latents)}


def make_sparsify(folder: Path) -> None:
    cases = {
        "topk": SparseCoderConfig(num_latents=N, k=K),
        "expanded": SparseCoderConfig(expansion_factor=N // D, k=K),
        "free-rows": SparseCoderConfig(num_latents=N, k=K, normalize_decoder=False),
        "multi-topk": SparseCoderConfig(num_latents=N, k=K, multi_topk=True),
    }
    for seed, (name, config) in enumerate(cases.items()):
        sae = SparseCoder(D, config)
        scramble(sae, 30 + seed)
        if config.normalize_decoder:
            sae.set_decoder_norm_to_unit_norm()
        place = folder / f"sparsify-{name}"
        sae.save_to_disk(place)
        x = inputs(30 + seed)
        save_file({"x": x, **sparsify_answer(place, x)}, place / "io.safetensors")


def answer(folder: Path) -> None:
    for given in sorted(folder.glob("*/x.safetensors")):
        place, x = given.parent, load_file(given)["x"]
        theirs = sparsify_answer if (place / "sae.safetensors").exists() else sae_lens_answer
        save_file(theirs(place, x), place / "answer.safetensors")


def main() -> None:
    folder = Path(sys.argv[2])
    if sys.argv[1] == "make":
        folder.mkdir(parents=True, exist_ok=True)
        make_sae_lens(folder)
        make_sparsify(folder)
    else:
        answer(folder)


if __name__ == "__main__":
    main()
