"""URIs: what may stand in one, and the file system that it opens, the same in every process that is given it.

Options that are no secret ride in an ``s3://`` URI's query, so a URI alone is enough for a worker on another machine.
Secrets never do: they come from the environment, a profile, or the machine's role.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import fsspec

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault

OPTIONS: Mapping[str, str] = {
    "endpoint": "http(s) address of a store that is not AWS",
    "region": "region of the bucket",
    "profile": "profile of the AWS config files that holds the credentials",
    "role": "ARN of a role to assume; its credentials renew themselves",
    "ca": "file with the certificates to trust instead of the system's",
    "kms_key": "KMS key that writes are encrypted with (SSE-KMS)",
    "requester_pays": "true where the bucket bills its readers",
}
"""What may stand in the query of an ``s3://`` URI."""

_SECRET = re.compile(r"(^|_)(key|pass|password|sig|signature)$|secret|token|credential|access|passw", re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}\Z")
_NO_SECRETS = "Credentials come from the environment, a profile or the machine's role, never from a URI"


@dataclass(frozen=True)
class Remote:
    """A URI taken apart.

    Attributes:
        scheme: ``file``, ``s3``, or that of another fsspec URL.
        path: The local path, ``bucket/prefix``, or the whole of another URL.
        options: What stood in the query of an ``s3://`` URI.
    """

    scheme: str
    path: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The URI in one spelling: no slash at its end, options sorted."""
        if self.scheme != "s3":
            return self.path
        return f"s3://{self.path}" + (f"?{self.query}" if self.options else "")

    @property
    def query(self) -> str:
        """The options in one spelling."""
        return "&".join(f"{name}={quote(value, safe='/:@')}" for name, value in sorted(self.options.items()))

    def child(self, *names: str) -> "Remote":
        """The same place, some folders below."""
        return Remote(self.scheme, "/".join([self.path.rstrip("/"), *names]), self.options)


def parse(uri: str) -> Remote:
    """Take a local path, ``file://``, ``s3://`` or other fsspec URL apart.

    Raises:
        ConfigError: A secret or an unknown option in it, no bucket, or a path that is not one.
    """
    scheme, sep, rest = uri.partition("://")
    if not sep:
        return Remote("file", str(Path(uri).absolute()))
    if scheme == "file":
        return Remote("file", str(Path(rest).absolute()))
    if scheme == "s3":
        return _parse_s3(rest)
    if any(map(_has_secret, uri.split("::"))):
        raise ConfigError("a URI holds a password or signature", value=f"{scheme}://…", remedy=_NO_SECRETS)
    return Remote(scheme, uri)


def _has_secret(url: str) -> bool:
    """Whether a URL, or a link of a chain such as ``simplecache::https://…``, holds a password or a signature."""
    try:
        parts = urlsplit(url)
        return parts.password is not None or any(
            _SECRET.search(item.partition("=")[0].replace("-", "_")) for item in parts.query.split("&")
        )
    except ValueError:
        return False


def _parse_s3(rest: str) -> Remote:
    path, _, query = rest.partition("?")
    bucket, _, prefix = path.rstrip("/").partition("/")
    if "@" in bucket or ":" in bucket:
        raise ConfigError("an s3:// URI holds a user or password", remedy=_NO_SECRETS)
    if not _BUCKET.match(bucket):
        raise ConfigError("an s3:// URI needs a bucket", value=repr(bucket), limit="s3://BUCKET/PREFIX?OPTION=VALUE")
    if prefix and any(part in ("", ".", "..") for part in prefix.split("/")):
        raise ConfigError("the prefix of an s3:// URI has an empty or upward segment", value=repr(prefix))
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, eq, value = item.partition("=")
        if name in OPTIONS and eq and value and name not in options:
            options[name] = _checked(name, unquote(value))
        elif name not in OPTIONS and _SECRET.search(name):
            raise ConfigError("an s3:// URI holds a secret", value=f"{name}=…", remedy=_NO_SECRETS)
        else:
            raise ConfigError(
                "an s3:// URI has an option that is unknown, empty or given twice",
                value=repr(name),
                limit=", ".join(OPTIONS),
            )
    return Remote("s3", f"{bucket}/{prefix}".rstrip("/"), options)


def _checked(name: str, value: str) -> str:
    if name == "endpoint":
        if not re.match(r"https?://[^/@?#]+/*\Z", value):
            raise ConfigError("an endpoint must be http(s)://HOST[:PORT], without user or path", where="endpoint")
        return value.rstrip("/")
    if name == "requester_pays" and value not in ("true", "false"):
        raise ConfigError("requester_pays must be true or false", value=repr(value))
    if name == "ca" and not Path(value).is_file():
        raise ConfigError("the file of certificates does not exist", value=value, where="ca")
    return value


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system that a URI opens, one a process, and the path inside it.

    On ``s3://`` it retries by itself what may pass, and raises the project's own errors; it may be pickled, and holds
    no secret then either.

    Args:
        uri: See :func:`parse`.

    Returns:
        File system and path, without a slash at its end.

    Raises:
        ConfigError: See :func:`parse`; or no file system serves the scheme.
        EnvironmentFault: The package that serves the scheme is not installed.
    """
    remote = parse(uri)
    if remote.scheme == "file":
        return fsspec.filesystem("file"), remote.path
    if remote.scheme == "s3":
        from neuroconcepts_ray.lake.client import S3

        return S3(remote.query), remote.path
    if remote.scheme.rpartition("::")[2] not in fsspec.available_protocols() and "::" not in uri:
        raise ConfigError(
            "no file system serves this URI",
            value=f"{remote.scheme}://…",
            limit="a local path, file://, s3:// or fsspec's",
        )
    try:
        fs, path = fsspec.url_to_fs(uri)
    except ImportError as error:
        raise EnvironmentFault(
            "a package for this URI is missing", value=f"{remote.scheme}://…", remedy=str(error).splitlines()[0]
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            "this URI cannot be opened", value=f"{remote.scheme}://…", limit=type(error).__name__
        ) from None
    return fs, str(path).rstrip("/")


def arrow(uri: str) -> tuple[Any, str]:
    """The same file system as pyarrow's, for libraries that want one; local paths get pyarrow's own.

    Returns:
        ``pyarrow.fs.FileSystem`` and the path inside it.
    """
    from pyarrow import fs as arrow_fs

    remote = parse(uri)
    if remote.scheme == "file":
        return arrow_fs.LocalFileSystem(), remote.path
    fs, path = filesystem(uri)
    return arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(fs)), path


def read_bytes(uri: str) -> bytes:
    """The bytes of one file at a path or URI.

    Raises:
        FileNotFoundError: There is none.
        OSError: It cannot be read; :class:`EnvironmentFault` on ``s3://``.
    """
    remote = parse(uri)
    if remote.scheme == "file":
        return Path(remote.path).read_bytes()
    fs, path = filesystem(uri)
    data: bytes = fs.cat_file(path)
    return data
