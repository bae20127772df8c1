"""The one S3 client: s3fs, with retries in one place, no cached listings, and errors that say what to do."""

import functools
from typing import Any
from urllib.parse import unquote

from aiobotocore.credentials import AioAssumeRoleCredentialFetcher, AioDeferredRefreshableCredentials
from aiobotocore.session import AioSession
from botocore import exceptions as boto
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem
from s3fs.core import set_custom_error_handler

from neuroconcepts_ray.errors import NeuroconceptsError
from neuroconcepts_ray.lake.s3_errors import passes, translate

ATTEMPTS = 10
"""How often a request is tried: 29 seconds of waiting in all, more than a server needs to start again."""

CONNECT_S, READ_S = 5, 30
"""Seconds to wait for a connection, and for the next bytes of an answer."""


class S3(S3FileSystem):  # type: ignore[misc] # s3fs has no types
    """s3fs for the options of an ``s3://`` URI; picklable by them, so no secret travels.

    s3fs repeats what fails (0.1 s growing by 1.7, at most 15 s), and botocore below it does not: two loops, one within
    the other, would multiply. Lists are never cached, for other writers exist.

    Args:
        query: The options as :attr:`neuroconcepts_ray.lake.remote.Remote.query` spells them.
        ignored: What the user's fsspec configuration has for ``s3``; a URI alone decides.
    """

    retries = ATTEMPTS
    part_bytes = 50 * 2**20
    """Objects of twice this size or more are written in parts, at most four at once."""

    def __init__(self, query: str = "", **ignored: Any) -> None:
        del ignored
        options = {name: unquote(value) for name, _, value in (item.partition("=") for item in query.split("&"))}
        self.options = options
        endpoint, region = options.get("endpoint"), options.get("region")
        config: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": 1},
            "connect_timeout": CONNECT_S,
            "read_timeout": READ_S,
            "max_pool_connections": 32,
        }
        if endpoint:
            # Stores that are not AWS rarely have a DNS name a bucket, and know fewer checksums.
            config["s3"] = {"addressing_style": "path"}
            config["request_checksum_calculation"] = config["response_checksum_validation"] = "when_required"
        client: dict[str, Any] = {}
        if region or endpoint:
            client["region_name"] = region or "us-east-1"
        if "ca" in options:
            client["verify"] = options["ca"]
        writes = {}
        if "kms_key" in options:
            writes = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": options["kms_key"]}
        super().__init__(
            endpoint_url=endpoint,
            client_kwargs=client,
            config_kwargs=config,
            s3_additional_kwargs=writes,
            requester_pays=options.get("requester_pays") == "true",
            session=_session(options.get("profile"), options.get("role"), client.get("region_name")),
            use_listings_cache=False,
        )
        set_custom_error_handler(passes)

    async def _call_s3(self, method: str, *akwarglist: Any, **kwargs: Any) -> Any:
        try:
            return await super()._call_s3(method, *akwarglist, **kwargs)
        except NeuroconceptsError:
            raise
        except Exception as error:
            raise translate(error, method, kwargs) from None

    async def _cat_file(self, path: str, version_id: str | None = None, **limits: Any) -> bytes:
        """One GET; s3fs would ask for the size first."""
        limits["max_concurrency"] = 1
        try:
            data: bytes = await super()._cat_file(path, version_id=version_id, **limits)
        except (NeuroconceptsError, FileNotFoundError):
            raise
        except Exception as error:  # the body broke off, again and again
            raise translate(error, "get_object", {"Bucket": self.split_path(path)[0]}) from None
        return data

    async def _pipe_file(self, path: str, data: bytes, **how: Any) -> Any:
        return await super()._pipe_file(path, data, **{"chunksize": self.part_bytes, "max_concurrency": 4} | how)

    async def _mkdir(self, path: str, acl: Any = False, create_parents: bool = True, **kwargs: Any) -> None:
        """S3 has no folders; s3fs would create a bucket."""
        del path, acl, create_parents, kwargs

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        del path, exist_ok

    # s3fs binds these to its own coroutines.
    call_s3 = sync_wrapper(_call_s3)
    mkdir = sync_wrapper(_mkdir)
    makedirs = sync_wrapper(_makedirs)


def _session(profile: str | None, role: str | None, region: str | None) -> AioSession:
    """A session whose credentials renew themselves before they expire."""
    session = AioSession(profile=profile)
    if role is None:
        return session
    base = AioSession(profile=profile)

    async def assume() -> dict[str, Any]:
        source = await base.get_credentials()
        if source is None:
            raise boto.NoCredentialsError
        client = functools.partial(base.create_client, region_name=region)
        fetcher = AioAssumeRoleCredentialFetcher(client, source, role, extra_args={"RoleSessionName": "neuroconcepts"})
        found: dict[str, Any] = await fetcher.fetch_credentials()
        return found

    session._credentials = AioDeferredRefreshableCredentials(refresh_using=assume, method="assume-role")
    return session
