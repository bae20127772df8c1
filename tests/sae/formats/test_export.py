"""A pipeline's SAE goes out, comes back, and is used as it was."""

import json
from pathlib import Path

import pytest
import torch

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.cli.main import call
from neuroconcepts_ray.pipeline import Pipeline
from neuroconcepts_ray.sae.model import SAE, load_sae
from tests.conftest import Chain


def test_out_to_each_library_and_back_into_the_pipeline(
    chain: Chain, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = chain.clone(tmp_path / "clone").file

    def run(*args: object, code: int = 0) -> None:
        assert call([*map(str, args)]) == code

    def sae_of(*overrides: str) -> SAE:
        line = Pipeline(pipeline.load(file, list(overrides)))
        return load_sae(line.lake, line.artifacts("sae")["sae"])

    own = sae_of()
    for library in ("saelens", "sparsify"):
        out, back = tmp_path / library, tmp_path / f"{library}-back"
        run("export-sae", "-c", file, "--to", library, "-o", out)
        assert f"Written to {out} for {library}" in capfd.readouterr().out
        run("import-sae", out, "--from", library, "--out", back)
        brought = f"sae.weights={back}"
        run("fit", "-c", file, "--set", brought)
        again = sae_of(brought)
        assert again.k == own.k
        for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
            torch.testing.assert_close(getattr(again, name), getattr(own, name), atol=1e-6, rtol=1e-6)
    run("export-sae", "-c", file, "--to", "saelens", "-o", tmp_path / "saelens", code=2)
    run("export-sae", "-c", file, "--to", "saelens", "-o", tmp_path / "x", "--set", "sae.seed=9", code=3)
    assert "sae is not finished" in capfd.readouterr().err
    narrow = json.loads((tmp_path / "saelens-back" / "sae.json").read_bytes())
    (tmp_path / "saelens-back" / "sae.json").write_text(json.dumps(narrow | {"d": 7}))
    run("fit", "-c", file, "--set", f"sae.weights={tmp_path / 'saelens-back'}", code=3)
    assert f"got d = 7; allowed: d = {own.d} (pre_logits)" in capfd.readouterr().err
