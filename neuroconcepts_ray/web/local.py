"""Serving on one machine: a plain search service behind uvicorn, which moves on when a newer state is published."""

from collections.abc import Callable
from pathlib import Path

import uvicorn

from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.naming.tables import load_names
from neuroconcepts_ray.retrieval import changes
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.web.app import Serving, Uploader, create_app
from neuroconcepts_ray.web.config import LOOPBACK
from neuroconcepts_ray.web.follow import Followed, Version, Watch, warm


def opener(followed: Followed, cache: Path) -> Callable[[Version], Serving]:
    """Opens versions of an index in this process.

    Args:
        followed: The index.
        cache: Folder for what has been fetched and checked.
    """

    def opened(version: Version) -> Serving:
        state = followed.state(version)
        index = state.open(followed.lake, cache)
        warm(index)
        names = followed.names_of(state)
        service = SearchService(index, load_names(followed.lake, names) if names is not None else None)
        return Serving(service, version.number, lambda: changes.stats(index, state))

    return opened


def run(
    followed: Followed,
    cache: Path,
    *,
    host: str,
    port: int,
    poll_s: float = 5.0,
    uploader: Uploader | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until interrupted.

    Args:
        followed: The index.
        cache: Folder for what has been fetched and checked.
        host: Address to listen on.
        port: Port to listen on.
        poll_s: Seconds between looks for a newer state.
        uploader: Encodes uploaded images.
        ready: Called once questions are answered.

    Raises:
        InputError: The index cannot be opened.
        EnvironmentFault: The address cannot be listened on.
    """
    watch = Watch(followed.look, opener(followed, cache), poll_s)
    watch.refresh()
    hosts = LOOPBACK if host in LOOPBACK else None
    app = create_app(watch.current, uploader=uploader, hosts=hosts, ready=ready)
    # No access log: addresses carry image ids.
    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, server_header=False)
    )
    watch.start()
    try:
        server.run()
    except SystemExit as error:
        raise EnvironmentFault(
            "the server cannot listen there", value=f"{host}:{port}", remedy="Give another --port or --host"
        ) from error
    finally:
        watch.stop()
