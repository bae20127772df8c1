"""The deployed classifier: backbone, taps, and the float32 head whose rows W and biases b explain takes apart."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn
from torch.nn import functional as F

from neuroconcepts_ray.classifier import backbones
from neuroconcepts_ray.classifier.augment import derived_seed
from neuroconcepts_ray.classifier.card import WEIGHTS, Card, Task, load_card
from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.outputs import pool
from neuroconcepts_ray.classifier.prepare import begins_with_convolution, look_up
from neuroconcepts_ray.errors import ConfigError
from neuroconcepts_ray.lake.lake import Lake
from neuroconcepts_ray.lake.manifest import Manifest


class Classifier(nn.Module):
    """A backbone that gives ``pre_logits`` f, and a linear head apart from it: logits = W f + b in float32.

    The head is taken out of the network, so that its input is the backbone's output, whatever is done before.

    Args:
        card: What it is; ``d`` is checked, unless it is 0.
        seed: Seed of the fresh weights.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, card: Card, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "weights"))
            backbone, self.head_name, self.head = backbones.build(card)
        if self.head.out_features != len(card.labels):
            raise ConfigError(
                "the network has another number of outputs than there are labels",
                value=f"{self.head.out_features} outputs ({self.head_name})",
                limit=f"{len(card.labels)} labels",
                where=card.network,
                remedy=f"Give all labels in the order of the outputs, or build {len(card.labels)}, as with --kwargs "
                f"'{{\"num_classes\": {len(card.labels)}}}'",
            )
        self.channels = backbones.channels(backbone)
        if self.channels < max(card.pixels.channels, len(card.mean), len(card.std)):
            raise ConfigError(
                "the network takes grey images",
                value=f"{card.pixels.channels} channels, mean {card.mean}, std {card.std}",
                limit="1 channel, one mean, one std",
                where=card.network,
            )
        backbone.set_submodule(self.head_name, nn.Identity())
        self.backbone = backbone
        self.prefix = backbones.prefix_tokens(backbone)
        self._convolves: bool | None = None
        self.register_buffer("mean", torch.tensor(card.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, -1, 1, 1), persistent=False)
        self.card = card.model_copy(update={"d": self.head.in_features, "head": self.head_name})
        if card.d not in (0, self.d):
            raise ConfigError("the backbone has another width than its card says", value=self.d, limit=card.d)
        self._check()

    def _check(self) -> None:
        """Run one black image through the backbone: it must take the size and give the head one vector."""
        size = self.card.pixels.size
        was_training = self.training
        try:
            with torch.inference_mode():
                output = self.eval().backbone(torch.zeros(1, self.channels, size, size))
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(
                f"the backbone cannot take images of this size: {reason}",
                value=size,
                where="classifier.pixels.size",
                remedy="Take a multiple of 32, for instance",
            ) from error
        finally:
            self.train(was_training)
        if not isinstance(output, Tensor) or output.shape != (1, self.d):
            raise ConfigError(
                "the backbone's head must take one vector per image",
                value=self.card.network,
                where="classifier.backbone",
                remedy="Take resnet*, densenet*, convnext* or vit*, for instance",
            )

    @property
    def d(self) -> int:
        """Width of ``pre_logits``."""
        return self.card.d

    @property
    def labels(self) -> list[str]:
        """Names of the outputs."""
        return self.card.labels

    @property
    def task(self) -> Task:
        """What the logits mean."""
        return self.card.task

    @property
    def W(self) -> Float[Tensor, "l d"]:
        """The head's rows, float32."""
        return self.head.weight.detach().float()

    @property
    def b(self) -> Float[Tensor, " l"]:
        """The head's biases, float32; zero where the backbone has none."""
        bias = self.head.bias
        return torch.zeros(len(self.labels), device=self.W.device) if bias is None else bias.detach().float()

    def normalise(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b i h w"]:
        """Pixels in 0…1 as the backbone takes them: centred, scaled, grey expanded where it takes three channels."""
        scaled = ((x - self.mean) / self.std).expand(-1, self.channels, -1, -1)
        return scaled.contiguous(memory_format=torch.channels_last)

    def prepare(self, x: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b i h w"]:
        """``normalise(x.float() / 255)``, bit for bit, and already rounded where autocast would round it first."""
        if x.device.type != "cpu":
            return self.normalise(x.float() / 255)
        every = torch.arange(256).view(-1, 1, 1, 1).expand(-1, x.shape[1], 1, 1)
        table = self.normalise(every.float() / 255)[:, :, 0, 0]
        if torch.is_autocast_enabled("cpu") and self._rounds():
            table = table.to(torch.get_autocast_dtype("cpu"))
        return look_up(x, table)

    def _rounds(self) -> bool:
        """Whether autocast rounds the backbone's input before anything else; looked at once."""
        if self._convolves is None:
            size = self.card.pixels.size
            with torch.autocast("cpu", enabled=False):
                self._convolves = begins_with_convolution(self.backbone, torch.zeros(1, self.channels, size, size))
        return self._convolves

    def pre_logits(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b d"]:
        """The float32 vector that the head takes, from normalised pixels."""
        vector: Tensor = self.backbone(x)
        return vector.float()

    def pooled(self, x: Float[Tensor, "1 i h w"]) -> tuple[Float[Tensor, "1 d"], object]:
        """``pre_logits`` of one image, and what it was pooled from, if anything was: maps or tokens, else None.

        timm says itself what these are. Of another network they are the last map that a function reduced to as many
        values as ``pre_logits`` has.

        Args:
            x: Normalised pixels.
        """
        features: Any = getattr(self.backbone, "forward_features", None)
        if self.card.factory is None and features is not None:
            return self.pre_logits(x), features(x)
        with backbones.Pooling(self.d) as seen:
            return self.pre_logits(x), seen.last

    def logits(self, f: Float[Tensor, "b d"]) -> Float[Tensor, "b l"]:
        """W f + b, never in the backbone's low precision.

        Deployed, it is summed in float64 and rounded once, so that a logit taken apart adds up to within one rounding
        of float32; while training, float32 is enough.
        """
        weight, bias = self.head.weight, self.head.bias
        with torch.autocast(f.device.type, enabled=False):
            if self.training:
                return F.linear(f.float(), weight, bias)
            return F.linear(f.double(), weight.double(), None if bias is None else bias.double()).float()

    def forward(self, x: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b l"]:
        """Logits of films."""
        return self.logits(self.pre_logits(self.normalise(x.float() / 255)))

    def forward_taps(
        self, x: UInt8[Tensor, "b c h w"], taps: Sequence[str] = (), *, reduction: str = "mean", tokens: str = "mean"
    ) -> dict[str, Float[Tensor, "b d"]]:
        """One float32 vector per film and tap; ``pre_logits`` and ``logits`` always.

        Args:
            x: Films.
            taps: Module names of the network; a module that is called twice gives its last output.
            reduction: ``mean`` or ``max`` over the positions of a map.
            tokens: ``mean`` over patch tokens or the ``class`` token.

        Raises:
            ConfigError: No such tap, or one whose output is neither vector, map nor tokens.
        """
        found: dict[str, Tensor] = {}

        def keep(tap: str, output: object) -> None:
            found[tap] = pool(output, tap, reduction=reduction, tokens=tokens, prefix=self.prefix)

        hooks = {tap: partial(keep, tap) for tap in taps if tap not in backbones.RESERVED}
        return {**self.forward_hooked(x, hooks), **found}

    def forward_hooked(
        self, x: UInt8[Tensor, "b c h w"], hooks: Mapping[str, Callable[[object], None]]
    ) -> dict[str, Float[Tensor, "b _"]]:
        """``pre_logits`` and ``logits`` of films, while modules tell what they give.

        Args:
            x: Films.
            hooks: By module name, what is called with the module's output, and must take what it wants at once: a
                later in-place operation may overwrite it.

        Raises:
            ConfigError: No such module.
        """
        with contextlib.ExitStack() as stack:
            for tap, hook in hooks.items():

                def call(_module: nn.Module, _given: object, output: object, hook: Any = hook) -> None:
                    hook(output)

                module = backbones.layer(self.backbone, tap, hidden=self.head_name)
                stack.callback(module.register_forward_hook(call).remove)
            f = self.pre_logits(self.prepare(x))
        return {"pre_logits": f, "logits": self.logits(f)}

    def timm_state(self) -> dict[str, Tensor]:
        """Parameters and buffers under the names that timm, or the factory's network, gives them."""
        state = {name: value.detach() for name, value in self.backbone.state_dict().items()}
        return state | {f"{self.head_name}.{name}": value.detach() for name, value in self.head.state_dict().items()}

    def load_timm_state(self, state: Mapping[str, Tensor]) -> None:
        """Take parameters under those names.

        Raises:
            ConfigError: Names or shapes differ.
        """
        want = {name: tuple(value.shape) for name, value in self.timm_state().items()}
        got = {name: tuple(value.shape) for name, value in state.items()}
        if want != got:
            wrong = sorted(name for name in {*want, *got} if want.get(name) != got.get(name))
            first = wrong[0]
            raise ConfigError(
                f"the weights do not fit the backbone: {len(wrong)} tensors differ, the first is {first}",
                value=got.get(first, "absent"),
                limit=want.get(first, "absent"),
                where="classifier.weights",
                remedy="Check backbone, backbone_kwargs and labels against the file",
            )
        place = f"{self.head_name}."
        tail = {name.removeprefix(place): value for name, value in state.items() if name.startswith(place)}
        self.head.load_state_dict(tail)
        self.backbone.load_state_dict({name: v for name, v in state.items() if not name.startswith(place)})


def card_of(config: ClassifierConfig, labels: Sequence[str], task: Task) -> Card:
    """The card of a classifier that a config describes."""
    return Card(
        backbone=config.backbone,
        backbone_kwargs=config.backbone_kwargs,
        labels=list(labels),
        task=task,
        pixels=config.pixels,
        mean=config.mean,
        std=config.std,
        d=0,
    )


def build(config: ClassifierConfig, labels: Sequence[str], task: Task) -> Classifier:
    """A classifier with fresh weights, seeded by the config."""
    return Classifier(card_of(config, labels, task), config.seed)


def load_classifier(lake: Lake, manifest: Manifest, device: str | torch.device = "cpu") -> Classifier:
    """The classifier of an artifact, ready to infer.

    Args:
        lake: The lake.
        manifest: Of kind ``classifier``.
        device: Where it shall run.
    """
    model = Classifier(load_card(lake, manifest))
    model.load_timm_state(load_safetensors(lake.read(manifest.part(WEIGHTS))))
    model.requires_grad_(False)
    return model.eval().to(device).to(memory_format=torch.channels_last)
