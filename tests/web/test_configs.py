"""What the served index can be told, and the config file that ships."""

import warnings

import pytest
import yaml

from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.web.config import ServeArgs
from tests.conftest import ROOT, Chain

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Ray's own models use what pydantic deprecates
    from ray.serve.schema import ServeDeploySchema

    from neuroconcepts_ray.web import serve

SHIPPED = yaml.safe_load((ROOT / "cluster" / "serve.yaml").read_text())


def test_the_config_file_that_ships_is_one_that_serve_takes_and_logs_no_addresses() -> None:
    schema = ServeDeploySchema(**SHIPPED)
    assert schema.http_options.host == "127.0.0.1"
    assert schema.logging_config is not None
    assert not schema.logging_config.enable_access_log
    (application,) = schema.applications
    module, _, name = application.import_path.partition(":")
    assert (module, getattr(serve, name)) == (serve.__name__, serve.build)
    assert validate(ServeArgs, application.args).shards == 4


def test_a_builder_makes_a_router_and_a_deployment_for_each_shard(chain: Chain) -> None:
    args = {**SHIPPED["applications"][0]["args"], "config": str(chain.file)}
    router = serve.build(args)._bound_deployment
    assert router.name == "router"
    spec, *shards = router.init_args
    assert [shard._bound_deployment.name for shard in shards] == ["shard-0", "shard-1", "shard-2", "shard-3"]
    assert {shard._bound_deployment.num_replicas for shard in shards} == {2}
    assert "phi" not in repr([spec.lake, spec.cache, spec.args])


@pytest.mark.parametrize(
    ("field", "value"), [("shards", 0), ("replicas", 0), ("timeout_s", 0), ("cpus", -1), ("shard", 2), ("config", None)]
)
def test_arguments_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field):
        validate(ServeArgs, {"config": "pipeline.yaml", field: value})
