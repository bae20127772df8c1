"""The verbs import-sae and export-sae: a checkpoint of another library becomes ours, and ours theirs."""

from pathlib import Path
from types import ModuleType

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.work import say
from neuroconcepts_ray.errors import ConfigError, InputError
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.sae.formats import saelens, sparsify
from neuroconcepts_ray.sae.formats.folder import check_free, read_folder, write_folder
from neuroconcepts_ray.sae.model import DESCRIPTION, SAE, WEIGHTS, load_sae, read_sae, save_sae

FORMATS: dict[str, ModuleType] = {"saelens": saelens, "sparsify": sparsify}
"""Libraries whose checkpoints are read and written."""


def _format(name: str, option: str) -> ModuleType:
    if name not in FORMATS:
        raise ConfigError("no such format", value=name, limit=", ".join(FORMATS), where=option)
    return FORMATS[name]


def _fires(sae: SAE) -> str:
    return "thresholds decide (JumpReLU)" if sae.k is None else f"the {sae.k} largest fire (TopK)"


def import_sae(source: Path, *, library: str, tap: str, out: Path) -> None:
    """Convert a checkpoint and write it as a folder for ``sae.weights``.

    Raises:
        NeuroconceptsError: It is refused; nothing is written then.
    """
    format_ = _format(library, "--from")
    check_free(out)
    sae, variant = format_.read(read_folder(source, format_.WEIGHTS))
    files = save_sae(sae, tap, variant)
    read_sae(files[WEIGHTS], files[DESCRIPTION])  # what float32 cannot hold is said now, not by `fit`
    write_folder(files, out)
    say(f"{sae.n} latents over {sae.d} dimensions of {tap}, {_fires(sae)}. Written to {out}. In the pipeline's file:\n")
    say(f"    sae:\n      tap: {tap}\n      weights: {out.absolute()}")


def export_sae(path: Path, overrides: list[str], *, library: str, out: Path, new_only: bool) -> None:
    """Write a pipeline's SAE as another library loads it.

    Raises:
        NeuroconceptsError: The SAE is not finished, or the library has none like it; nothing is written then.
    """
    format_ = _format(library, "--to")
    check_free(out)
    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    manifest = line.artifacts("sae").get("sae")
    if manifest is None:
        raise InputError("the SAE is not finished", remedy="Run `neuroconcepts fit` with the same config first")
    sae, tap = load_sae(line.lake, manifest), str(manifest.facts["tap"])
    write_folder(format_.write(sae, tap), out)
    say(f"{sae.n} latents over {sae.d} dimensions of {tap}, {_fires(sae)}. Written to {out} for {library}.")
