"""Where a training keeps its checkpoints: a folder on a disk or on S3, of which the newest bytes count."""

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from pyarrow import fs as arrow_fs

from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.lake.remote import arrow, parse


@dataclass(frozen=True)
class Place:
    """A folder by its URI, which is all that a worker needs of it.

    Attributes:
        uri: A local path, ``file://`` or ``s3://``.
    """

    uri: str

    @property
    def local(self) -> bool:
        """Whether it is a folder of this machine, where a look costs nothing."""
        return parse(self.uri).scheme == "file"

    def arrow(self) -> tuple[arrow_fs.FileSystem, str]:
        """The file system, as Ray Train takes it, and the path inside it."""
        return arrow(self.uri)

    def child(self, name: str) -> "Place":
        """A folder below."""
        return Place(parse(self.uri).child(name).uri)

    def make(self) -> None:
        """Make the folder, where it is not there."""
        fs, path = self.arrow()
        _call(fs.create_dir, path)

    def read(self, name: str) -> Any:
        """The JSON of a file; None where there is none.

        Raises:
            ValueError: It is torn: half of it was written.
        """
        fs, path = self.arrow()
        try:
            with fs.open_input_stream(f"{path}/{name}") as stream:
                data = stream.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return json.loads(data)

    def write(self, name: str, value: Any) -> None:
        """Write a file of JSON, over what was there."""
        fs, path = self.arrow()
        with fs.open_output_stream(f"{path}/{name}") as stream:
            stream.write(json.dumps(value).encode())

    def delete(self, name: str) -> None:
        """Remove a file, where there is one."""
        fs, path = self.arrow()
        with contextlib.suppress(FileNotFoundError):
            fs.delete_file(f"{path}/{name}")

    def clear(self) -> None:
        """Remove the folder with all that is in it."""
        fs, path = self.arrow()
        with contextlib.suppress(FileNotFoundError):
            fs.delete_dir(path)


def _call(verb: Any, path: str) -> None:
    try:
        verb(path)
    except EnvironmentFault:
        raise
    except OSError as error:
        raise EnvironmentFault(
            f"the folder of checkpoints cannot be made: {error.strerror or type(error).__name__}",
            where=path,
            remedy="Make room or give this user permission there, and run the same command again",
        ) from error
