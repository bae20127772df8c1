"""Networks as this project uses them: built without a download, one linear head, taps by module name."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from neuroconcepts_ray.classifier import factory
from neuroconcepts_ray.classifier.card import Card
from neuroconcepts_ray.errors import ConfigError

RESERVED = ("pre_logits", "logits")
"""Taps that every backbone has: the very input of the head, and the head's output."""


def near(name: str, known: Sequence[str]) -> str:
    """The names that a user may have meant, as a remedy."""
    found = difflib.get_close_matches(name, known, n=5, cutoff=0.5) or [k for k in known if name and name in k][:5]
    return f"Did you mean {', '.join(found)}?" if found else f"Some there are: {', '.join(list(known)[:8])}"


def build(card: Card) -> tuple[nn.Module, str, nn.Linear]:
    """The network of a card with fresh weights, its head's module name, and its head.

    Raises:
        ConfigError: It cannot be built, or does not end in one linear layer.
        EnvironmentFault: The package of its factory is not installed here.
    """
    if card.factory is not None:
        network = factory.make(card.factory, card.backbone_kwargs)
        return network, *find_head(network, card.pixels.size)
    network = create(str(card.backbone), len(card.labels), card.pixels.size, card.backbone_kwargs)
    return network, *head(network, str(card.backbone))


def create(name: str, outputs: int, size: int, kwargs: Mapping[str, Any]) -> nn.Module:
    """A timm model with fresh weights; nothing is downloaded.

    Args:
        name: Its name in timm.
        outputs: Number of logits.
        size: Side of the images in pixels; told to models that are built for one size, as transformers are.
        kwargs: Further arguments of the model.

    Raises:
        ConfigError: No such model, or the model refuses the arguments.
    """
    # Here, because timm takes seconds to import, and most of what imports this module builds no model.
    import timm

    if not timm.is_model(name):
        raise ConfigError(
            "timm has no such backbone", value=name, where="classifier.backbone", remedy=near(name, timm.list_models())
        )
    given = timm.get_pretrained_cfg(name)
    sized = {"img_size": size} if given is not None and given.fixed_input_size else {}
    try:
        with factory.offline(name):
            model: nn.Module = timm.create_model(
                name, pretrained=False, num_classes=outputs, **{"in_chans": 3, **sized, **kwargs}
            )
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise ConfigError(
            f"the backbone cannot be built: {error}",
            value={"backbone": name, "size": size, **kwargs},
            where="classifier.backbone_kwargs",
            remedy="Take other pixels.size or backbone_kwargs",
        ) from error
    return model


def head(model: nn.Module, name: str = "") -> tuple[str, nn.Linear]:
    """The linear layer of a timm model that makes the logits, and its module name.

    Raises:
        ConfigError: The model ends otherwise.
    """
    classifier: Any = getattr(model, "get_classifier", None)
    found = classifier() if classifier is not None else None
    places = [place for place, module in model.named_modules() if module is found]
    if not isinstance(found, nn.Linear) or len(places) != 1:
        raise ConfigError(
            "the backbone does not end in one linear layer",
            value=f"{name or type(model).__name__}: {type(found).__name__}",
            where="classifier.backbone",
            remedy="Take resnet*, densenet*, convnext* or vit*, for instance",
        )
    return places[0], found


def find_head(network: nn.Module, size: int) -> tuple[str, nn.Linear]:
    """The linear layer whose output is what any network returns, and its module name.

    Found by running the network: the last linear layer that is called. Whether the network returns its output as it is
    gets tried out: what that layer gives is replaced by a ramp from −30 to 30, which no activation function, mean or
    clipping leaves alone.

    Args:
        network: In any mode; left in it.
        size: Side of the images in pixels.

    Raises:
        ConfigError: The network cannot take such images, or ends otherwise; says in what.
    """
    calls: list[tuple[str, nn.Module, object]] = []
    leaves = {module: name for name, module in network.named_modules() if not any(module.children())}

    def note(module: nn.Module, _given: object, output: object) -> None:
        calls.append((leaves[module], module, output))

    _watched(network, leaves, note, size)
    linear = [number for number, (_, module, _) in enumerate(calls) if isinstance(module, nn.Linear)]
    if not linear:
        ends = f"{type(calls[-1][1]).__name__} {calls[-1][0]}" if calls else "no module"
        raise _no_head(f"there is none; the last layer is {ends}")
    name, found, output = calls[linear[-1]]
    assert isinstance(found, nn.Linear)  # noqa: S101 - for mypy
    after = [f"{type(module).__name__} {place}" for place, module, _ in calls[linear[-1] + 1 :]]
    said = f"{found.in_features} to {found.out_features} in {name}"
    if not isinstance(output, Tensor) or output.shape != (1, found.out_features):
        form = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise _no_head(f"{said} gives {form} for one image")
    if sum(module is found for _, module, _ in calls) > 1:
        raise _no_head(f"{said} is called more than once")
    ramp = torch.linspace(-30, 30, found.out_features) if found.out_features > 1 else torch.tensor([-30.0])
    returned = _watched(network, [found], lambda *_: ramp[None].clone(), size)
    if not isinstance(returned, Tensor):
        raise _no_head(f"the network returns a {type(returned).__name__}")
    if returned.shape != (1, found.out_features) or not torch.equal(returned.cpu(), ramp[None]):
        follows = f"followed by {', '.join(after)}" if after else f"changed afterwards, to shape {list(returned.shape)}"
        raise _no_head(f"{said} is {follows}")
    return name, found


def _no_head(found: str) -> ConfigError:
    return ConfigError(
        "the network does not end in one linear layer that makes the logits",
        value=found,
        where=factory.WHERE,
        remedy="Let the factory return the network without what follows that layer (a sigmoid, a second head)",
    )


def _watched(network: nn.Module, modules: Iterable[nn.Module], hook: Callable[..., Any], size: int) -> object:
    """What a network gives for one black image while a hook is on some modules."""
    was_training = network.training
    handles = [module.register_forward_hook(hook) for module in modules]
    try:
        with torch.inference_mode():
            return network.eval()(torch.zeros(1, channels(network), size, size))
    except Exception as error:  # code of the user, which may raise anything
        raise ConfigError(
            f"the network cannot take such images: {factory.reason(error)}",
            value=f"{channels(network)}×{size}×{size}",
            where=factory.WHERE,
            remedy="Give another size, or other --kwargs",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        network.train(was_training)


def channels(network: nn.Module) -> int:
    """Channels of the images that a network takes: what its first convolution takes, 3 where there is none."""
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    return 1 if first is not None and first.in_channels == 1 else 3


def prefix_tokens(network: nn.Module) -> int:
    """Tokens before those of the patches: as timm says, or one where the network has a class token."""
    known = getattr(network, "num_prefix_tokens", None)
    return int(known) if known is not None else int(any(hasattr(network, n) for n in ("class_token", "cls_token")))


class Pooling(TorchFunctionMode):
    """Sees, while it is entered, which map was last reduced to one vector.

    Attributes:
        last: [1, d, h, w] or [1, h, w, d], copied before anything may overwrite it.

    Args:
        d: Width of the vector.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d
        self.last: Tensor | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call it, and look at what goes in and comes out."""
        given = args[0] if args else None
        mapped = isinstance(given, Tensor) and given.ndim == 4 and self.d in (given.shape[1], given.shape[3])
        before = given.clone() if mapped and isinstance(given, Tensor) else None
        made = func(*args, **(kwargs or {}))
        if before is not None and isinstance(made, Tensor) and made.numel() == self.d < before.numel():
            self.last = before
        return made


def layer(model: nn.Module, tap: str, hidden: str = "") -> nn.Module:
    """The module that a tap names.

    Args:
        model: The network.
        tap: A module name.
        hidden: A module that is no tap: where the head was.

    Raises:
        ConfigError: There is none.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    for name in ("", hidden):
        modules.pop(name, None)
    if tap not in modules:
        raise ConfigError(
            "the backbone has no such tap", value=tap, where="activations.taps", remedy=near(tap, [*modules, *RESERVED])
        )
    return modules[tap]
