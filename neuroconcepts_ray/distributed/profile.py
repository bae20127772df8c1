"""The numeric profile: what must be equal for results to be bitwise equal."""

import platform
from pathlib import Path


def _extensions() -> str:
    """Matrix extensions that torch's capability does not tell apart; none where the system does not list them."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return ""
    return "".join(f" {flag}" for flag in ("avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16") if flag in flags)


def numeric_profile(*, dtype: str = "float32", device: str = "cpu", libraries: tuple[str, ...] = ()) -> dict[str, str]:
    """Describe this process's arithmetic.

    Args:
        dtype: The dtype of the forward pass.
        device: Torch's device name.
        libraries: Further distributions whose version matters, such as ``"Pillow"``.

    Returns:
        Instruction set or GPU, torch's version, dtype, and a version for each library.
    """
    from importlib.metadata import version

    import torch

    unit = torch.cuda.get_device_name() if device == "cuda" else torch.backends.cpu.get_cpu_capability()
    if device == "cpu":
        unit += _extensions()
    profile = {"device": f"{platform.machine()} {unit}", "dtype": dtype, "torch": torch.__version__}
    return profile | {name.lower(): version(name) for name in libraries}
