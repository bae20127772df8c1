"""storage/s3: policy and lifecycle are well-formed, name keys as the norm has them, and a store takes them."""

import json
import os
import re
import subprocess
import uuid
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from neuroconcepts_ray.lake import leases
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Receipt
from neuroconcepts_ray.lake.recipe import Plan, Recipe
from neuroconcepts_ray.lake.s3 import S3Store
from neuroconcepts_ray.lake.survey import MANIFEST, RECEIPT, REF
from tests.conftest import ROOT
from tests.golden.lakes import VERSIONS, files
from tests.weed import Weed

FOLDER = ROOT / "storage" / "s3"
POLICY = json.loads((FOLDER / "bucket-policy.json").read_text())
RULES = json.loads((FOLDER / "lifecycle.json").read_text())["Rules"]
STATEMENTS = {one["Sid"]: one for one in POLICY["Statement"]}
RECORDS = STATEMENTS["RecordsAreCreatedAndNeverOverwritten"]
BUCKET = "arn:aws:s3:::BUCKET"
NOT_RECORDS = (
    "lake/leases/0123.json",
    "lake/probe/0123",
    f"lake/training/{'a' * 32}/checkpoint_manager_snapshot.json",
    f"lake/training/{'a' * 32}/checkpoint_1/metrics.json",
    f"lake/classifier/{'a' * 32}/parts/model-0123456789ab.json",
    f"lake/sae/{'a' * 32}/parts/metrics-0123456789ab.json",
    "phi/hash.key",
    "phi/erasures/x/plan.json",
)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def matches(statement: dict[str, Any], key: str) -> bool:
    """As IAM matches: * is any text and ? any character, slashes among them."""
    return any(fnmatchcase(f"{BUCKET}/{key}", pattern) for pattern in listed(statement["Resource"]))


def is_record(key: str) -> bool:
    root, _, below = key.partition("/")
    return root == "lake" and any(kind.match(below) for kind in (REF, RECEIPT, MANIFEST))


def test_every_statement_has_what_iam_asks_for_and_no_more_rights_than_the_docs_name() -> None:
    assert POLICY["Version"] == "2012-10-17"
    assert len(STATEMENTS) == len(POLICY["Statement"])
    for one in STATEMENTS.values():
        assert set(one) <= {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
        assert one["Effect"] in ("Allow", "Deny")
        assert one["Principal"] == ("*" if one["Effect"] == "Deny" else {"AWS": "arn:aws:iam::ACCOUNT:role/RUN_ROLE"})
        assert all(re.fullmatch(rf"{BUCKET}(/.*)?", resource) for resource in listed(one["Resource"]))
        assert one["Effect"] == "Allow" or one["Condition"]
    allowed = {action for one in STATEMENTS.values() if one["Effect"] == "Allow" for action in listed(one["Action"])}
    docs = (ROOT / "docs" / "storage.md").read_text()
    said = docs[docs.index("Permissions:") :].split("\n\n")[0]
    assert allowed == set(re.findall(r"`(s3:\w+)`", said))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_patterns_match_every_record_of_a_lake_and_nothing_else(version: str) -> None:
    keys = [name for name in files(version) if name.partition("/")[0] in ("lake", "phi")]
    assert {"lake", "phi"} == {key.partition("/")[0] for key in keys}
    kinds = {kind for key in keys for kind in (REF, RECEIPT, MANIFEST) if kind.match(key.removeprefix("lake/"))}
    assert len(kinds) == 3
    for key in (*keys, *NOT_RECORDS):
        assert matches(RECORDS, key) == is_record(key), key
        assert matches(STATEMENTS["RunsReadAndWriteTheLake"], key) == key.startswith("lake/")
        assert matches(STATEMENTS["RunsReadAndWritePHI"], key) == key.startswith("phi/")
        assert matches(STATEMENTS["NobodyElseTouchesPHI"], key) == key.startswith("phi/")
        assert matches(STATEMENTS["NothingWithoutTLS"], key)


def test_no_rule_lets_anything_current_expire() -> None:
    for rule in RULES:
        assert set(rule) - {"ID", "Status", "Filter"} <= {
            "AbortIncompleteMultipartUpload",
            "NoncurrentVersionExpiration",
            "Expiration",
        }
        assert rule["Status"] == "Enabled"
        assert rule["Filter"] == {"Prefix": ""}
        assert rule.get("Expiration", {}) in ({}, {"ExpiredObjectDeleteMarker": True})
    assert len({rule["ID"] for rule in RULES}) == len(RULES)


@pytest.fixture
def bucket(weed: Weed) -> str:
    """A bucket that no other test has."""
    name = f"policy-{uuid.uuid4().hex[:12]}"
    weed.behind.create_bucket(Bucket=name)
    return name


def put(weed: Weed, bucket: str, statements: list[dict[str, Any]]) -> None:
    text = json.dumps({"Version": POLICY["Version"], "Statement": statements})
    text = text.replace("BUCKET", bucket).replace("ACCOUNT", "111122223333")
    weed.behind.put_bucket_policy(Bucket=bucket, Policy=text)
    assert json.loads(weed.behind.get_bucket_policy(Bucket=bucket)["Policy"]) == json.loads(text)


def test_a_store_takes_both_and_a_lake_lives_under_them(weed: Weed, bucket: str) -> None:
    weed.behind.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": RULES})
    kept = weed.behind.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert {rule["ID"]: rule for rule in kept} == {rule["ID"]: rule for rule in RULES}
    # The server of the tests speaks plain HTTP.
    put(weed, bucket, [one for sid, one in STATEMENTS.items() if sid != "NothingWithoutTLS"])
    with pytest.raises(Exception, match="AccessDenied"):
        weed.behind.put_object(Bucket=bucket, Key="phi/x", Body=b"")
    lake = Lake(*(S3Store(f"s3://{bucket}/{root}?endpoint={weed.endpoint}") for root in ("lake", "phi")))
    plan = Plan(Recipe("codes", 1, {}), {})
    with leases.hold(lake.store, "encode"):
        part = lake.put_part(plan, f"{'0' * 32}.parquet", b"bytes")
        lake.commit_receipt(plan, Receipt(shard="0" * 32, part=part))
        lake.advance("codes-x", lake.commit_manifest(plan, "codes.x", [part]))
    assert lake.read(part) == b"bytes"
    lake.store.delete(part.key)


def test_a_record_is_what_the_store_itself_takes_for_one(weed: Weed, bucket: str) -> None:
    """The store of the tests does not know the condition, so it is left out: what matches is refused altogether."""
    put(weed, bucket, [{name: value for name, value in RECORDS.items() if name != "Condition"}])
    record = f"lake/codes/{'a' * 32}/receipts/{'b' * 32}.json"
    for key in (record, f"lake/codes/{'a' * 32}/{'b' * 32}.json", "lake/refs/x/1.json"):
        with pytest.raises(Exception, match="AccessDenied"):
            weed.behind.put_object(Bucket=bucket, Key=key, Body=b"")
    for key in NOT_RECORDS:
        weed.behind.put_object(Bucket=bucket, Key=key, Body=b"")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "usage"),
        (["PLACE", "a-port"], "PORT must be a number"),
        (["PLACE", "60000"], "PORT must be a number"),
        (["PLACE"], "weed is not there"),
    ],
)
def test_a_local_server_that_cannot_start_says_why(tmp_path: Path, args: list[str], said: str) -> None:
    script = ROOT / "storage" / "local-s3" / "start.sh"
    place = tmp_path / "s3"
    command = ["bash", str(script), *(str(place) if one == "PLACE" else one for one in args)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"WEED": str(tmp_path / "none")}, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert not place.exists()
