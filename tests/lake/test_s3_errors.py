"""What a store answers, and what the user is told."""

import pytest
from botocore import exceptions as boto

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault
from neuroconcepts_ray.lake.s3_errors import passes, translate


def answer(status: int, code: str) -> boto.ClientError:
    response = {"Error": {"Code": code, "Message": "p10000032"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "GetObject")


REQUEST = {"Bucket": "films", "Key": "files/p10/p10000032/s1/a.jpg"}


@pytest.mark.parametrize(
    ("status", "code", "method", "kind", "says"),
    [
        (404, "NoSuchKey", "get_object", FileNotFoundError, "no such key"),
        (404, "404", "head_object", FileNotFoundError, "no such key"),
        (404, "NoSuchBucket", "get_object", ConfigError, "bucket does not exist"),
        (412, "PreconditionFailed", "put_object", FileExistsError, "the key is taken"),
        (301, "PermanentRedirect", "get_object", ConfigError, "another region"),
        (400, "ExpiredToken", "get_object", EnvironmentFault, "token for the store has expired.*Sign in again"),
        (403, "InvalidAccessKeyId", "get_object", EnvironmentFault, "does not know these credentials"),
        (403, "SignatureDoesNotMatch", "get_object", EnvironmentFault, "AWS_SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", "get_object", EnvironmentFault, "clock"),
        (403, "AccessDenied", "get_object", EnvironmentFault, "Allow s3:GetObject, and s3:ListBucket"),
        (403, "AccessDenied", "put_object", EnvironmentFault, "Allow s3:PutObject"),
        (403, "AccessDenied", "list_objects_v2", EnvironmentFault, "Allow s3:ListBucket"),
        (403, "403", "delete_object", EnvironmentFault, "Allow s3:DeleteObject"),
        (400, "KMS.NotFoundException", "put_object", EnvironmentFault, "kms:GenerateDataKey"),
        (500, "InternalError", "put_object", EnvironmentFault, "500 InternalError.*same command again"),
    ],
)
def test_an_answer_is_told_with_its_remedy_and_without_the_key(
    status: int, code: str, method: str, kind: type[Exception], says: str
) -> None:
    told = translate(answer(status, code), method, REQUEST)
    assert type(told) is kind
    assert "p10000032" not in str(told)
    with pytest.raises(kind, match=says):
        raise told


def test_what_may_pass_is_tried_again_and_what_cannot_is_not() -> None:
    again = [answer(503, "SlowDown"), answer(500, "InternalError"), answer(409, "ConditionalRequestConflict")]
    again += [answer(429, "TooManyRequests"), answer(400, "RequestTimeout")]
    never = [answer(403, "AccessDenied"), answer(404, "NoSuchKey"), answer(412, "PreconditionFailed")]
    never += [answer(501, "NotImplemented"), answer(400, "ExpiredToken")]
    assert all(map(passes, again))
    assert not any(map(passes, never))
    assert passes(boto.EndpointConnectionError(endpoint_url="http://x"))
    assert not passes(boto.SSLError(endpoint_url="http://x", error="e"))
