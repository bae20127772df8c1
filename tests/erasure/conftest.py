"""A finished chain over a tiny archive of twenty-four patients; copied before anything is changed."""

from pathlib import Path

import pytest

from tests.catalog.conftest import Mimic
from tests.erasure.world import Hospital


def _archive(root: Path) -> Mimic:
    root.mkdir()
    archive = Mimic(root)
    for patient in range(24):
        for study in range(2):
            number = str(50000000 + 2 * patient + study)
            finding = ("effusion", "edema", "atelectasis")[(patient + study) % 3]
            text = f"FINDINGS: There is {finding}.\nIMPRESSION: The whole of report {number} speaks of {finding} alone."
            for view in ("AP", "LATERAL"):
                archive.add(str(10000000 + patient), number, f"{patient:02d}-{study}-{view}", view=view, report=text)
    return archive.write()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    folder = tmp_path_factory.mktemp("hospital")
    made = Hospital(_archive(folder / "archive"), folder / "run").write(str(folder / "lake"), str(folder / "phi"))
    made.run()
    return made


@pytest.fixture
def hospital(finished: Hospital, tmp_path: Path) -> Hospital:
    return finished.copy(tmp_path / "copy")
