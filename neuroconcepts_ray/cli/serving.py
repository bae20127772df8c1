"""The verb that serves."""

from pathlib import Path

from neuroconcepts_ray import pipeline
from neuroconcepts_ray.errors import ConfigError, EnvironmentFault
from neuroconcepts_ray.pipeline import Pipeline

_INSTALL = 'pip install "neuroconcepts-ray[cpu,web]"'


def serve(
    path: Path,
    overrides: list[str],
    *,
    space: str,
    host: str,
    port: int,
    ray: bool,
    shards: int,
    replicas: int,
    timeout_s: float,
    poll_s: float,
    new_only: bool,
) -> None:
    """Serve the index of a space until interrupted: in this process, or over shards on Ray Serve.

    Raises:
        ConfigError: The pipeline has no such space.
        InputError: The index is not finished.
        EnvironmentFault: The web extra is not installed, or the address cannot be listened on.
    """
    try:
        if ray:
            _on_ray(
                {
                    "config": str(path),
                    "overrides": overrides,
                    "space": space,
                    "new_only": new_only,
                    "shards": shards,
                    "replicas": replicas,
                    "timeout_s": timeout_s,
                    "poll_s": poll_s,
                    "hosts": _hosts(host),
                },
                host,
                port,
            )
        else:
            _here(path, overrides, space, host, port, poll_s, new_only)
    except ModuleNotFoundError as error:
        if error.name in ("fastapi", "uvicorn", "starlette", "multipart", "python_multipart"):
            raise EnvironmentFault("serving needs the web extra", value=error.name, remedy=_INSTALL) from error
        raise


def _hosts(host: str) -> list[str]:
    from neuroconcepts_ray.web.config import LOOPBACK

    return list(LOOPBACK) if host in LOOPBACK else ["*"]


def _say(host: str, port: int) -> None:
    print(f"serving http://{host}:{port}/api/v1/ (interface: /api/v1/openapi.json); Ctrl-C ends it", flush=True)  # noqa: T201 - the product


def _here(path: Path, overrides: list[str], space: str, host: str, port: int, poll_s: float, new_only: bool) -> None:
    from neuroconcepts_ray.web import local
    from neuroconcepts_ray.web.follow import Followed

    line = Pipeline(pipeline.load(path, overrides), new_only=new_only)
    if space not in line.config.spaces:
        raise ConfigError("the pipeline has no such space", value=space, limit=", ".join(line.config.spaces))
    have = line.artifacts(f"index.{space}")
    followed = Followed.start(line.lake, have[f"index.{space}"], have.get(f"names.{space}"))
    local.run(
        followed,
        line.config.index.cache_folder,
        host=host,
        port=port,
        poll_s=poll_s,
        ready=lambda: _say(host, port),
    )


def _on_ray(fields: dict[str, object], host: str, port: int) -> None:
    from neuroconcepts_ray.config import validate
    from neuroconcepts_ray.distributed.config import ComputeConfig
    from neuroconcepts_ray.distributed.connect import connect
    from neuroconcepts_ray.web.config import ServeArgs

    args = validate(ServeArgs, fields)
    need = args.shards * args.replicas + args.routers
    connect(ComputeConfig(cpus=max(4, need)), need)
    from neuroconcepts_ray.web import serve

    serve.run(args, host=host, port=port, ready=lambda: _say(host, port))
