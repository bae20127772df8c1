"""The whole chain with images, reports, lake and PHI root on a real S3 server, through a network that fails."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from neuroconcepts_ray.lake.store import open_store
from tests.conftest import PIPELINE, Chain, Command, Resident
from tests.faultproxy import Fault, FaultProxy, Request, no_faults, shares
from tests.weed import BUCKET, Weed

# Every fault comes often in both; most of a storm's time are waits between one try and the next.
GALE: dict[Fault, float] = {"busy": 0.05, "reset": 0.05, "truncate": 0.04, "drop": 0.02, "conflict": 0.05}
STORM: dict[Fault, float] = {"busy": 0.14, "reset": 0.14, "truncate": 0.05, "drop": 0.03, "conflict": 0.05}


class RemoteChain(Chain):
    """A pipeline whose every root is an ``s3://`` URI.

    Args:
        folder: For the pipeline file alone.
        archive: The local archive, for its hash key.
        endpoint: Of the store.
        prefix: Of lake and PHI root in the bucket.
        text: Of the pipeline file.
    """

    def __init__(self, folder: Path, archive: Path, endpoint: str, prefix: str, text: str = PIPELINE) -> None:
        super().__init__(folder, archive, text)
        query = f"?endpoint={endpoint}"
        self.uri = f"s3://{BUCKET}/{prefix}/lake{query}"
        self.phi_uri = f"s3://{BUCKET}/{prefix}/phi{query}"
        text = self.file.read_text()
        text = text.replace("lake: lake", f"lake: '{self.uri}'").replace("phi_root: phi", f"phi_root: '{self.phi_uri}'")
        for part in ("archive", "reports"):
            text = text.replace(f"{archive}/{part}", f"'s3://{BUCKET}/films/{part}{query}'")
        self.file.write_text(text)


@pytest.fixture(scope="module")
def films(weed: Weed, archive: Path) -> None:
    """The archive's files in the bucket."""
    for path in archive.rglob("*"):
        if path.is_file() and path.name != "hash.key":
            key = f"films/{path.relative_to(archive).as_posix()}"
            weed.behind.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


@pytest.fixture(scope="module")
def proxy(weed: Weed) -> Iterator[FaultProxy]:
    with FaultProxy("127.0.0.1", weed.port) as made:
        yield made


def kinds(requests: list[Request]) -> Counter[str]:
    """Requests by what they ask for: the verb, and `list` or the artifact's kind."""

    def kind(request: Request) -> str:
        return "list" if "list-type" in request.target else "/".join(request.path.split("/")[3:5])

    return Counter(f"{request.method} {kind(request)}" for request in requests)


@pytest.mark.usefixtures("films")
def test_the_chain_on_s3_through_a_bad_network_gives_the_digests_of_the_chain_on_disk(
    chain: Chain, nc: Command, resident: Resident, proxy: FaultProxy, tmp_path: Path
) -> None:
    faults = STORM if "STORM" in os.environ else GALE
    run = RemoteChain(tmp_path, chain.archive, proxy.endpoint, "storm")
    proxy.plan = shares(7, faults)
    # A checkpoint or two is enough through such a network; how often one is saved changes no result.
    nc("run", "-c", run.file, "--set", "sae.checkpoint_every=60")
    assert run.contents() == chain.contents()
    assert set(proxy.faults) == set(faults)

    proxy.plan = no_faults
    store = open_store(run.uri)
    assert list(store.list("training")) == [], "checkpoints are removed once the artifact is committed"
    assert list(store.list("probe")) == []
    proxy.requests.clear()
    assert "Nothing to do" in resident("run", "-c", run.file).out
    asked = kinds(proxy.requests)
    assert not [kind for kind in asked if kind.startswith(("PUT", "DELETE")) and "lease" not in kind], asked
    image = next((chain.archive / "archive").rglob("*.jpg")).stem
    found = [resident("search", "--like", image, "-c", one.file).out for one in (run, chain)]
    assert found[0] == found[1]
