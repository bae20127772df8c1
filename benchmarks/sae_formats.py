"""Our reading and writing of SAE checkpoints beside the libraries themselves; ``make test-sae-formats``.

The libraries run in the environment ``PEERS_PYTHON``: they make checkpoints of every architecture, larger than those
under tests/, and answer for what is written here. Exit code 1 where anything differs by more than 1e-5.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import load_file, save_file

from neuroconcepts_ray.errors import InputError
from neuroconcepts_ray.sae.formats import saelens, sparsify
from neuroconcepts_ray.sae.formats.folder import read_folder, write_folder
from neuroconcepts_ray.sae.model import SAE

PEERS = Path(__file__).with_name("sae_formats_peers.py")
BOUND = 1e-5
FORMATS: dict[str, ModuleType] = {"saelens": saelens, "sparsify": sparsify}


def peers(verb: str, folder: Path, *sizes: str) -> None:
    """Let the libraries do their part."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    subprocess.run([os.environ["PEERS_PYTHON"], str(PEERS), verb, str(folder), *sizes], check=True, env=environment)


def apart(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Largest difference of codes and reconstructions, beside the largest value of each."""
    return max(float((ours[one] - theirs[one]).abs().max() / theirs[one].abs().max()) for one in ("z", "x_hat"))


def says(sae: SAE, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Codes and reconstructions."""
    return {"z": sae.encode_dense(x), "x_hat": sae.reconstruct(x)}


def main() -> None:
    """Make, read, write, let answer, compare, print."""
    with tempfile.TemporaryDirectory() as scratch:
        made, back = Path(scratch) / "made", Path(scratch) / "back"
        peers("make", made, "64", "512", "16", "200")
        read, control = {}, {}
        for place in sorted(made.iterdir()):
            library = FORMATS[place.name.partition("-")[0]]
            sae, _ = library.read(read_folder(place, library.WEIGHTS))
            io = load_file(place / "io.safetensors")
            read[place.name] = apart(says(sae, io["x"]), io)
            # The control of the bound: the same SAE but for one bias.
            sae.b_dec[0] += 0.01
            control[place.name] = apart(says(sae, io["x"]), io)
            sae.b_dec[0] -= 0.01
            for name, writer in FORMATS.items():
                try:
                    files = writer.write(sae, "pre_logits")
                except InputError:
                    continue  # sparsify has no thresholds
                write_folder(files, back / f"{name}-of-{place.name}")
                save_file({"x": io["x"]}, back / f"{name}-of-{place.name}" / "x.safetensors")
        peers("answer", back)
        written: dict[str, dict[str, float]] = {}
        for place in sorted(back.iterdir()):
            name, _, source = place.name.partition("-of-")
            written.setdefault(source, {})[name] = apart(
                load_file(place / "answer.safetensors"), load_file(made / source / "io.safetensors")
            )
    print(f"{'checkpoint':>42} {'read':>9} {'altered':>9} {'saelens':>9} {'sparsify':>9}")
    for name, found in read.items():
        columns = "".join(
            f" {written[name][one]:9.1e}" if one in written[name] else f" {'-':>9}" for one in ("saelens", "sparsify")
        )
        print(f"{name:>42} {found:9.1e} {control[name]:9.1e}{columns}")
    worst = max([*read.values(), *(one for found in written.values() for one in found.values())])
    print(f"largest difference {worst:.1e}, allowed {BOUND:.0e}; an altered SAE differs by {min(control.values()):.1e}")
    sys.exit(int(not worst <= BOUND < min(control.values())))


if __name__ == "__main__":
    main()
