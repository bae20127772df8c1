"""The lake on S3: whole objects, and a conditional PUT where exactly one writer may win."""

import contextlib
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault
from neuroconcepts_ray.lake.client import S3
from neuroconcepts_ray.lake.remote import parse
from neuroconcepts_ray.lake.store import Blob, check_key

_proven: set[tuple[str, str]] = set()
"""(options, bucket) of the stores that this process has seen refuse a second writer."""
_proving = threading.Lock()

WRITES = 3
"""How often a multi-part write is begun anew; each of its requests is repeated besides."""


class S3Store:
    """A prefix of a bucket; may be used by several threads, and travels to other processes by its URI.

    Args:
        uri: ``s3://BUCKET/PREFIX?OPTION=VALUE``, see :mod:`neuroconcepts_ray.lake.remote`.

    Raises:
        ConfigError: The URI has something wrong.
    """

    def __init__(self, uri: str) -> None:
        remote = parse(uri)
        self.uri = remote.uri
        self._query = remote.query
        self._root = remote.path
        self._bucket, _, prefix = remote.path.partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def _fs(self) -> Any:
        return S3(self._query)  # one a process, and never one from before a fork

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"

    @contextlib.contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        """Name the key, which a key of the lake allows."""
        try:
            yield
        except EnvironmentFault as error:
            raise EnvironmentFault(
                error.what, value=error.value, limit=error.limit, remedy=error.remedy, where=f"s3://{self._root}/{key}"
            ) from None

    def read(self, key: str) -> bytes:
        """See :class:`Store`; a body that breaks off is fetched again."""
        path = self._path(key)
        with self._faults(key):
            data: bytes = self._fs.cat_file(path)
        return data

    def write(self, key: str, data: bytes) -> None:
        """See :class:`Store`; in parts above 100 MB, which become visible together."""
        path = self._path(key)
        with self._faults(key):
            for _ in range(WRITES):
                try:
                    self._fs.pipe_file(path, data)
                except FileNotFoundError:  # the last request was answered, and the answer lost: the upload is closed
                    continue
                return
            raise EnvironmentFault("the store loses uploads in parts", remedy="Run the same command again")

    def create(self, key: str, data: bytes) -> None:
        """See :class:`Store`; a PUT with ``If-None-Match: *``.

        Raises:
            ConfigError: The store does not heed it, so two writers could both believe that they won.
        """
        path = self._path(key)
        with self._faults(key):
            self._prove()
            self._fs.pipe_file(path, data, mode="create")

    def _prove(self) -> None:
        """See the store refuse a second writer, once a process, before anything is committed."""
        store = (self._query, self._bucket)
        with _proving:
            if store in _proven:
                return
            probe = self._path(f"probe/{uuid.uuid4().hex}")
            try:
                # A first answer may be lost and its repetition refused: a refusal is proof whenever it comes.
                with contextlib.suppress(FileExistsError):
                    self._fs.pipe_file(probe, b"first", mode="create")
                    self._fs.pipe_file(probe, b"second", mode="create")
                    raise ConfigError(
                        "this store overwrites where it should refuse (a PUT with If-None-Match: *), "
                        "so two writers could both commit",
                        value=f"s3://{self._bucket}",
                        remedy="Use AWS S3, SeaweedFS, MinIO, Ceph 19 or another store that has conditional writes",
                    )
            finally:
                with contextlib.suppress(EnvironmentFault, FileNotFoundError):
                    self._fs.rm_file(probe)
            _proven.add(store)

    def exists(self, key: str) -> bool:
        """See :class:`Store`."""
        self._path(key)
        with self._faults(key):
            try:
                self._fs.call_s3("head_object", Bucket=self._bucket, Key=self._prefix + key)
            except FileNotFoundError:
                return False
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """See :class:`Store`; always asked anew."""
        yield from (blob.key for blob in self.scan(check_key(prefix.rstrip("/"))))

    def scan(self, prefix: str = "") -> Iterator[Blob]:
        """See :class:`Store`; always asked anew. Uploads that a dead writer left are for the bucket's lifecycle."""
        folder = f"{check_key(prefix.rstrip('/'))}/" if prefix else ""
        found: list[Blob] = []
        page: dict[str, Any] = {}
        with self._faults(folder):
            while True:
                request = {"Bucket": self._bucket, "Prefix": self._prefix + folder}
                if "NextContinuationToken" in page:
                    request["ContinuationToken"] = page["NextContinuationToken"]
                page = self._fs.call_s3("list_objects_v2", **request)
                found += [
                    Blob(item["Key"][len(self._prefix) :], int(item["Size"]), item["LastModified"].timestamp())
                    for item in page.get("Contents", ())
                    if not item["Key"].endswith("/")
                ]
                if not page.get("IsTruncated"):
                    break
        yield from sorted(found, key=lambda blob: blob.key)

    def delete(self, key: str) -> None:
        """See :class:`Store`."""
        path = self._path(key)
        with self._faults(key), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(path)

    def delete_tree(self, prefix: str) -> None:
        """See :class:`Store`; a thousand keys a request."""
        keys = [self._prefix + blob.key for blob in self.scan(check_key(prefix.rstrip("/")))]
        with self._faults(prefix):
            for start in range(0, len(keys), 1000):
                some = {"Objects": [{"Key": key} for key in keys[start : start + 1000]], "Quiet": True}
                answer = self._fs.call_s3("delete_objects", Bucket=self._bucket, Delete=some)
                if answer.get("Errors"):
                    raise EnvironmentFault(
                        "the store did not remove some keys",
                        value=answer["Errors"][0].get("Code", ""),
                        remedy="Allow s3:DeleteObject and run the same command again",
                    )

    def local_path(self, key: str) -> Path | None:
        """See :class:`Store`; there are no files."""
        check_key(key)
        return None
