"""Networks of the user's own packages: a factory is imported by name and called, and reaches no network meanwhile.

A card names its factory, and a card may come from anywhere. So that it cannot name just any callable (``os:system``), a
factory must say of itself that it makes a network: a subclass of ``nn.Module``, or a function annotated to return one.
"""

import contextlib
import importlib
import inspect
import sys
import threading
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from torch import nn

from neuroconcepts_ray.errors import ConfigError, EnvironmentFault, NeuroconceptsError

WHERE = "the model's factory"

_guarded = threading.local()


def make(factory: str, kwargs: Mapping[str, Any]) -> nn.Module:
    """Call a factory.

    Args:
        factory: ``package.module:function``.
        kwargs: Its arguments.

    Raises:
        ConfigError: It is no factory of networks, fails, or wants to download something.
        EnvironmentFault: Its package is not installed here.
    """
    with offline(factory):
        found = find(factory)
        try:
            network = found(**kwargs)
        except NeuroconceptsError:
            raise
        except Exception as error:  # code of the user, which may raise anything
            raise ConfigError(
                f"the factory failed with these arguments: {reason(error)}",
                value=dict(kwargs),
                where=f"{WHERE} {factory}",
                remedy="Give other --kwargs",
            ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError("the factory gives no network", value=type(network).__name__, where=f"{WHERE} {factory}")
    return network.float()


def find(factory: str) -> Callable[..., Any]:
    """The callable of that name, imported.

    Raises:
        ConfigError: Its package has no such callable, or the callable makes no networks.
        EnvironmentFault: Its package is not installed here.
    """
    module_name, _, path = factory.partition(":")
    where = f"{WHERE} {factory}"
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError("a factory belongs to an installed package", value=factory, where=where)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise EnvironmentFault(
            "the package of the model's factory is not installed on this machine",
            value=error.name,
            where=where,
            remedy="Install it, in the version the model was imported with, wherever stages run: on every node of a "
            "cluster, or in its image",
        ) from error
    except NeuroconceptsError:
        raise
    except Exception as error:  # code of the user, which may raise anything
        raise ConfigError(f"the factory's module cannot be imported: {reason(error)}", where=where) from error
    for name in path.split("."):
        found = getattr(found, name, None)
    if not makes_networks(found):
        raise ConfigError(
            "this is no factory: it must be a subclass of nn.Module, or a function annotated to return one",
            value="no such name" if found is None else type(found).__name__,
            where=where,
            remedy="Write `def build(...) -> nn.Module:` in your package",
        )
    return typing.cast("Callable[..., Any]", found)


def makes_networks(found: object) -> bool:
    """Whether an object says of itself that calling it gives an ``nn.Module``."""
    if inspect.isclass(found):
        return issubclass(found, nn.Module)
    if not inspect.isfunction(found):
        return False
    try:
        made = typing.get_type_hints(found).get("return")
    except Exception:  # a hint may name what is not there
        return False
    return inspect.isclass(made) and issubclass(made, nn.Module)


def reason(error: BaseException) -> str:
    """The first line of an exception, with its type."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextlib.contextmanager
def offline(what: str) -> Iterator[None]:
    """Refuse every connection that this thread would open; other threads go on undisturbed.

    Raises:
        ConfigError: From within, where a host is looked up or connected to.
    """
    _install()
    before = getattr(_guarded, "what", None)
    _guarded.what = what
    try:
        yield
    finally:
        _guarded.what = before


@cache
def _install() -> None:
    """Audit hooks stay for the life of a process, so there is one; it does nothing in threads that are not guarded."""
    sys.addaudithook(_refuse)


def _refuse(event: str, given: tuple[Any, ...]) -> None:
    what = getattr(_guarded, "what", None)
    if what is None or event not in ("socket.getaddrinfo", "socket.connect"):
        return
    address = given[0] if event == "socket.getaddrinfo" else given[1]
    if event == "socket.connect" and not isinstance(address, tuple):
        return
    raise ConfigError(
        "the network wants to be downloaded, which never happens at run time",
        value=address[0] if isinstance(address, tuple) else address,
        where=str(what),
        remedy="Let the factory build it without pretrained weights (weights=None); they are in the file you import",
    )
