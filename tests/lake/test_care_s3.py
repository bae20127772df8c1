"""verify and gc on a real S3 server: the same suites as on disk."""

import uuid

import pytest

from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.s3 import S3Store
from tests.lake.test_gc import GcContract
from tests.lake.test_verify import VerifyContract
from tests.weed import BUCKET, Weed


@pytest.fixture
def lake(weed: Weed) -> Lake:
    at = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    return Lake(*(S3Store(f"{at}/{root}?endpoint={weed.endpoint}") for root in ("lake", "phi")))


class TestVerifyOnS3(VerifyContract):
    flips = (0.5,)  # each is a look at the whole lake

    @pytest.fixture
    def lake(self, lake: Lake) -> Lake:
        return lake


class TestGcOnS3(GcContract):
    @pytest.fixture
    def lake(self, lake: Lake) -> Lake:
        return lake
