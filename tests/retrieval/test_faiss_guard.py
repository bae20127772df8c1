"""Exactly one FAISS, and the fix is named otherwise."""

from importlib import metadata
from types import SimpleNamespace

import pytest

from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.retrieval import faiss_guard


def pretend(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    found = [SimpleNamespace(metadata={"Name": name}) for name in (*names, "numpy", "faiss-notes-app")]
    monkeypatch.setattr(metadata, "distributions", lambda: iter(found))


@pytest.mark.parametrize("name", ["faiss-cpu", "faiss_gpu", "faiss-gpu-cu12", "faiss-gpu-cuvs", "faiss"])
def test_one_distribution_is_right(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pretend(monkeypatch, name, name)  # seen twice on the path, still one
    assert faiss_guard.check() == name.replace("_", "-")


def test_none_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    with pytest.raises(EnvironmentFault, match=r"pip install 'neuroconcepts-ray\[cpu\]'.*\[gpu\]") as caught:
        faiss_guard.check()
    assert caught.value.exit_code == 4


def test_two_name_both_and_what_to_remove(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "faiss-cpu", "faiss-gpu")
    with pytest.raises(EnvironmentFault, match="pip uninstall -y faiss-cpu faiss-gpu, then pip install"):
        faiss_guard.check()


def test_a_broken_one_is_a_fault_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"no {name}.so")

    monkeypatch.setattr(faiss_guard, "import_module", fail)
    with pytest.raises(EnvironmentFault, match="cannot be imported"):
        faiss_guard.load.__wrapped__()
