"""What a URL opens: the file system behind it, by fsspec."""

import fsspec

from neuroconcepts_ray.errors import ConfigError


def filesystem(uri: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL and the path inside it.

    Raises:
        ConfigError: Nothing opens this scheme.
    """
    scheme = uri.partition("://")[0]
    try:
        fs, path = fsspec.core.url_to_fs(uri)
    except (ValueError, ImportError):
        raise ConfigError("nothing opens this URI", value=f"{scheme}://…", limit="a folder, file://, s3://") from None
    return fs, str(path)
