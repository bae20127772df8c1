"""The application on Ray Serve: a router over shards, each of several replicas that map their segments from local disk.

A replica that dies is replaced by Serve; what it was asked is asked again of another one while there is time. A new
state of the index is opened by every replica before the router moves on to it, and the old one is kept meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse

from neuroconcepts_ray import config as configs
from neuroconcepts_ray.errors import EnvironmentFault
from neuroconcepts_ray.naming.tables import load_names
from neuroconcepts_ray.retrieval import changes, faiss_guard
from neuroconcepts_ray.retrieval.search import SearchService
from neuroconcepts_ray.retrieval.snapshot import read_snapshot
from neuroconcepts_ray.web import shards
from neuroconcepts_ray.web.app import Serving, create_app
from neuroconcepts_ray.web.config import ServeArgs
from neuroconcepts_ray.web.follow import Version, Watch
from neuroconcepts_ray.web.shards import Question, Remote, Reply, View, deal, shard_name
from neuroconcepts_ray.web.spec import Spec, specify

Handle = DeploymentHandle[Any]

Response = DeploymentResponse[Reply]

QUIET = {"enable_access_log": False, "log_level": "WARNING"}
"""Serve's own log: no addresses, for they carry image ids."""

BATCH = 16
"""Most questions that a replica works off in one go."""

GRACE_S = 30.0
"""How long a new version is held back for a shard of which no replica has opened it."""

OPENING_S = 600.0
"""How long opening may take: a shard's segments come from the lake when a machine sees them for the first time."""


def settle() -> None:
    """Keep the numeric libraries to one thread: replicas are the parallelism."""
    import numba
    import pyarrow as pa

    numba.set_num_threads(1)
    pa.set_cpu_count(1)
    faiss_guard.load().omp_set_num_threads(1)


class ShardReplica:
    """One replica of a shard.

    Args:
        spec: What to serve.
        number: Which shard.
    """

    async def __init__(self, spec: Spec, number: int) -> None:  # type: ignore[misc]
        settle()
        self._shard = shards.Shard(spec.follow(), number, spec.args.shards, Path(spec.cache))
        self._work = ThreadPoolExecutor(1, "search")
        # A replica counts as up only once it has the newest state open.
        await asyncio.to_thread(lambda: self._shard.open(self._shard.followed.look()))

    async def prepare(self, version: Version) -> tuple[str, ...] | None:
        """Open a version before it is asked; its columns, None where this shard has no segment of it."""
        return await asyncio.to_thread(self._shard.columns, version)

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.0)
    async def ask(self, asked: list[tuple[Version, Question]]) -> list[Reply]:
        """Answer what has come in while the last batch was worked off."""
        answer = self._shard.answer
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._work, lambda: [answer(version, one) for version, one in asked])


class Handles:
    """Questions to shards over Serve's handles; safe to call from several threads.

    Args:
        handles: One a shard.
        timeout_s: How long a shard has, second tries included.
    """

    def __init__(self, handles: Sequence[Handle], timeout_s: float) -> None:
        self._handles, self._timeout = handles, timeout_s

    def __call__(self, version: Version, question: Question, shards: Sequence[int]) -> Mapping[int, Reply | None]:
        """The reply of each shard, None where none came in time."""
        deadline = time.monotonic() + self._timeout
        request = (version, question)
        sent = {shard: self._send(shard, request) for shard in shards}
        return {shard: self._wait(shard, response, request, deadline) for shard, response in sent.items()}

    def _send(self, shard: int, request: tuple[Version, Question]) -> Response | None:
        try:
            return cast(Response, self._handles[shard].ask.remote(request))
        except (RayError, RayServeException):
            return None

    def _wait(
        self,
        shard: int,
        response: Response | None,
        request: tuple[Version, Question],
        deadline: float,
    ) -> Reply | None:
        while True:
            left = deadline - time.monotonic()
            try:
                if response is not None:
                    return response.result(timeout_s=max(left, 0.001))
            except TimeoutError:
                if response is not None:
                    response.cancel()  # type: ignore[no-untyped-call]
                return None
            except (RayError, RayServeException):
                pass  # its replica died, or there is none at this moment: another one, while there is time
            if left <= 0.05:
                return None
            time.sleep(0.05)
            response = self._send(shard, request)


@serve.ingress()
class Router:
    """The ingress: routes of the application over all shards.

    Args:
        spec: What to serve.
        handles: One a shard.
    """

    async def __init__(self, spec: Spec, *handles: Handle) -> None:  # type: ignore[misc]
        settle()
        self._followed = spec.follow()
        self._spec, self._handles = spec, handles
        self._ask = Handles(handles, spec.args.timeout_s)
        self._held_back: dict[Version, float] = {}
        self._watch: Watch[Serving] = Watch(self._followed.look, self._open, spec.args.poll_s)
        await asyncio.to_thread(self._begin)
        self._watch.start()

    def __serve_build_asgi_app__(self) -> FastAPI:
        hosts = None if "*" in self._spec.args.hosts else self._spec.args.hosts
        return create_app(self._serving, hosts=hosts)

    def _serving(self) -> Serving:
        """A backend of its own for each query: it remembers which shards were silent."""
        served = self._watch.current()
        remote = served.service.index
        assert isinstance(remote, Remote)  # noqa: S101 - as opened below
        return Serving(SearchService(Remote(remote.view, self._ask), remote.view.names), served.version, served.stats)

    def _begin(self) -> None:
        while True:
            try:
                self._watch.refresh()
                return
            except EnvironmentFault:
                time.sleep(0.2)  # the shards' replicas are still coming up

    def _open(self, version: Version) -> Serving:
        state = self._followed.state(version)
        snapshot = read_snapshot(self._followed.lake, state.manifest)
        dealt = deal(snapshot.segments, self._spec.args.shards)
        columns = self._prepared(version, [shard for shard, keys in enumerate(dealt) if keys])
        manifest = self._followed.names_of(state)
        names = load_names(self._followed.lake, manifest) if manifest is not None else {}
        view = View(version, snapshot.statistics, columns, tuple(map(tuple, dealt)), names)
        buried: dict[str, int] = {}
        for key, _ in snapshot.removed.values():
            buried[key] = buried.get(key, 0) + 1
        segments = [(key, rows, buried.get(key, 0)) for key, rows in snapshot.segments]

        def stats() -> dict[str, Any]:
            held = {shard_name(shard): list(keys) for shard, keys in enumerate(view.dealt)}
            return {**changes.describe(view.statistics, segments, state), "shards": held}

        return Serving(SearchService(Remote(view, self._ask), names), version.number, stats)

    def _prepared(self, version: Version, holding: Sequence[int]) -> tuple[str, ...]:
        """Have every replica open a version; columns that all its segments have.

        Raises:
            EnvironmentFault: No replica of a shard has opened it, and the time of grace is not over.
        """
        began = self._held_back.setdefault(version, time.monotonic())
        asked = [self._handles[shard].broadcast("prepare", version) for shard in holding]
        columns: list[tuple[str, ...]] = []
        silent = []
        for shard, response in zip(holding, asked, strict=True):
            try:
                got = response.results(timeout_s=OPENING_S, return_exceptions=True)
            except (RayError, RayServeException, TimeoutError):
                got = []
            opened = [one for one in got if isinstance(one, tuple)]
            columns += opened
            if not opened:
                silent.append(shard_name(shard))
        late = time.monotonic() - began > GRACE_S
        if silent and not (late and columns):
            raise EnvironmentFault("no replica of a shard has opened the index", value=", ".join(silent))
        self._held_back.clear()
        shared = set.intersection(*map(set, columns)) if columns else set()
        return tuple(name for name in columns[0] if name in shared) if columns else ()


def bind(spec: Spec) -> serve.Application:
    """The application: a router, and a deployment for each shard."""
    args = spec.args
    options = {"num_cpus": args.cpus}
    bound = [
        serve.deployment(
            name=shard_name(number),
            num_replicas=args.replicas,
            max_ongoing_requests=4 * BATCH,
            ray_actor_options=options,
            health_check_period_s=2,
            graceful_shutdown_timeout_s=5,
            logging_config=QUIET,
        )(ShardReplica).bind(spec, number)
        for number in range(args.shards)
    ]
    router = serve.deployment(
        name="router",
        num_replicas=args.routers,
        max_ongoing_requests=200,
        ray_actor_options=options,
        graceful_shutdown_timeout_s=5,
        logging_config=QUIET,
    )(Router)
    bound_router: serve.Application = router.bind(spec, *bound)
    return bound_router


def build(args: dict[str, Any]) -> serve.Application:
    """Builder for a Serve config file: ``import_path: neuroconcepts_ray.web.serve:build``.

    Args:
        args: Fields of :class:`ServeArgs`.
    """
    return bind(specify(configs.validate(ServeArgs, args)))


def start(spec: Spec, *, host: str, port: int) -> None:
    """Start serving on the connected cluster, and return once it answers.

    Args:
        spec: What to serve.
        host: Address to listen on.
        port: Port to listen on.
    """
    serve.start(http_options={"host": host, "port": port}, logging_config=QUIET)
    serve.run(bind(spec), name="neuroconcepts", route_prefix="/", logging_config=QUIET)


def run(args: ServeArgs, *, host: str, port: int, ready: Callable[[], None] = lambda: None) -> None:
    """Serve on the connected cluster until interrupted.

    Args:
        args: What to serve.
        host: Address to listen on.
        port: Port to listen on.
        ready: Called once questions are answered.
    """
    try:
        start(specify(args), host=host, port=port)
        ready()
        while True:
            time.sleep(1)
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
