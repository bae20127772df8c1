"""What an S3 store says when something is wrong, and what a user can do about it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from botocore import exceptions as boto

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, NeuroconceptsError

_PERMISSION = {
    "get_object": "s3:GetObject, and s3:ListBucket, without which a missing key is called forbidden",
    "head_object": "s3:GetObject, and s3:ListBucket, without which a missing key is called forbidden",
    "head_bucket": "s3:ListBucket",
    "list_objects_v2": "s3:ListBucket",
    "put_object": "s3:PutObject",
    "create_multipart_upload": "s3:PutObject",
    "upload_part": "s3:PutObject",
    "complete_multipart_upload": "s3:PutObject",
    "abort_multipart_upload": "s3:AbortMultipartUpload",
    "delete_object": "s3:DeleteObject",
    "delete_objects": "s3:DeleteObject",
}

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_UNKNOWN = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidClientTokenId", "InvalidSecurity"}
_ELSEWHERE = {"PermanentRedirect", "Redirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "301", "307"}
_AGAIN = "Run the same command again once the store answers: work done is kept"


def _response(error: BaseException) -> Mapping[str, Any]:
    """What the store answered; s3fs hides it behind its own exception."""
    for found in (error, error.__cause__):
        if isinstance(found, boto.ClientError):
            response: Mapping[str, Any] = found.response
            return response
    return {}


def status_and_code(error: BaseException) -> tuple[int, str]:
    """HTTP status and S3 error code of an answer; 0 and nothing where there was none."""
    response = _response(error)
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    return status, str(response.get("Error", {}).get("Code", ""))


def passes(error: Exception) -> bool:
    """Whether a failed request may go through later: no connection, a broken answer, 5xx, 429, or a conflict."""
    if isinstance(error, boto.SSLError | boto.ProxyConnectionError):
        return False
    broken = boto.ConnectionError | boto.HTTPClientError | boto.IncompleteReadError | boto.ResponseStreamingError
    if isinstance(error, broken | asyncio.TimeoutError | ConnectionError):
        return True
    status, code = status_and_code(error)
    again = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown", "Throttling"}
    return (status >= 500 and code != "NotImplemented") or status == 429 or code in again


def _credentials(error: Exception) -> NeuroconceptsError | None:
    if isinstance(error, boto.ProfileNotFound):
        return ConfigError("the profile of the URI is in no AWS config file of this machine", where="profile")
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return EnvironmentFault(
            "there are no credentials for the store on this machine",
            remedy="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in the URI, or use a role",
        )
    if isinstance(error, boto.CredentialRetrievalError | boto.TokenRetrievalError | boto.UnauthorizedSSOTokenError):
        return EnvironmentFault(
            "the credentials for the store cannot be renewed",
            value=type(error).__name__,
            remedy="Sign in again (such as `aws sso login`), then run the same command again: work done is kept",
        )
    return None


def _refused(status: int, code: str, method: str, where: str) -> NeuroconceptsError:
    said = f"{status} {code}".strip()
    if code in _EXPIRED:
        return EnvironmentFault(
            "the session token for the store has expired",
            value=said,
            where=where,
            remedy="Sign in again and run the same command: work done is kept. Profiles and roles renew themselves",
        )
    if code in _UNKNOWN:
        return EnvironmentFault(
            "the store does not know these credentials",
            value=said,
            where=where,
            remedy="Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile, here and on the workers",
        )
    if code == "RequestTimeTooSkewed":
        return EnvironmentFault("the clock of this machine is wrong", value=said, where=where, remedy="Set it by NTP")
    if code.startswith("KMS."):
        return EnvironmentFault(
            "the KMS key cannot be used",
            value=said,
            where=where,
            remedy="Check kms_key in the URI, and allow kms:GenerateDataKey and kms:Decrypt on it",
        )
    return EnvironmentFault(
        "the store forbids this", value=said, where=where, remedy=f"Allow {_PERMISSION.get(method, method)}"
    )


def translate(error: Exception, method: str, request: Mapping[str, Any]) -> Exception:
    """The project's error for a failed request.

    Args:
        error: What s3fs or botocore raised.
        method: botocore's name of the request, such as ``get_object``.
        request: Its arguments; only the bucket is named, for a key of an archive may carry a patient's id.

    Returns:
        FileNotFoundError for a key that is absent, FileExistsError for a refused create, ConfigError for what the URI
        has wrong, else EnvironmentFault.
    """
    bucket = str(request.get("Bucket", ""))
    where = f"s3://{bucket}"
    status, code = status_and_code(error)
    if code == "NoSuchBucket":
        return ConfigError(
            "the bucket does not exist", value=bucket, remedy="Create it, or correct bucket or endpoint in the URI"
        )
    if code in ("NoSuchKey", "404", "NotFound") or (isinstance(error, FileNotFoundError) and code != "NoSuchUpload"):
        return FileNotFoundError("no such key")
    if code in ("PreconditionFailed", "412") or status == 412 or isinstance(error, FileExistsError):
        return FileExistsError("the key is taken")
    if code in _ELSEWHERE:
        return ConfigError(
            "the bucket is in another region", value=bucket, remedy="Name its region in the URI: ?region=…"
        )
    known = _credentials(error)
    if known is not None:
        return known
    if status in (401, 403) or code in _EXPIRED | _UNKNOWN or code.startswith("KMS."):
        return _refused(status, code, method, where)
    if isinstance(error, boto.SSLError):
        return EnvironmentFault(
            "the certificate of the store is not trusted",
            where=where,
            remedy="Give the file of its authority as ?ca=FILE, or correct the endpoint",
        )
    if isinstance(error, boto.ParamValidationError | ValueError | TypeError):
        return ConfigError("the store's client refuses the URI's options", value=type(error).__name__, where=where)
    said = f"{status} {code}".strip() if status else type(error).__name__
    if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError):
        return EnvironmentFault("the store cannot be reached", value=said, where=where, remedy=_AGAIN)
    return EnvironmentFault("the store failed", value=said, where=where, remedy=_AGAIN)
