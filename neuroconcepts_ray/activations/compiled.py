"""The forward pass as one compiled graph (``torch.compile``)."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from neuroconcepts_ray.classifier import backbones
from neuroconcepts_ray.classifier.model import Classifier
from neuroconcepts_ray.errors import EnvironmentFault

_REMEDY = "Install a C++ compiler on every machine (g++, or name it in CXX), or set activations.compile=false"


class Compiled:
    """:meth:`Classifier.forward_hooked` of a compiled backbone, for the modules that are named beforehand.

    Batches are filled up to one size: a graph for each size would round each otherwise, and after some of them torch
    falls back to no graph at all.

    Args:
        model: In eval mode; it keeps the hooks of these modules.
        modules: Names of the modules whose output may be asked for.
        batch_size: Films of a batch.

    Raises:
        EnvironmentFault: There is no C++ compiler, which torch needs on a CPU.
        ConfigError: No such module.
    """

    def __init__(self, model: Classifier, modules: Sequence[str], batch_size: int) -> None:
        compiler = os.environ.get("CXX") or "g++"
        if model.W.device.type == "cpu" and shutil.which(compiler) is None:
            raise EnvironmentFault("torch.compile needs a C++ compiler", value=compiler, remedy=_REMEDY)
        self.model = model
        self.batch_size = batch_size
        self.modules = list(dict.fromkeys(modules))
        seen: dict[str, Tensor] = {}

        def watch(name: str) -> Callable[..., None]:
            # A copy, for a later in-place operation may overwrite the output. A lambda, for it is compiled too, and
            # whatever checks annotations cannot be.
            return lambda _module, _given, output: seen.update({name: output.clone()})

        for name in self.modules:
            backbones.layer(model.backbone, name, hidden=model.head_name).register_forward_hook(watch(name))
        # The hooks run while it is traced, so what they see is an output of the graph.
        self._seen = seen
        self._run = torch.compile(lambda x: (model.backbone(x), dict(seen)), dynamic=False)

    def __call__(
        self, x: UInt8[Tensor, "b c h w"], hooks: Mapping[str, Callable[[object], None]]
    ) -> dict[str, Float[Tensor, "b _"]]:
        """See :meth:`Classifier.forward_hooked`.

        Raises:
            EnvironmentFault: Torch could not compile the backbone.
        """
        rows = len(x)
        filled = torch.cat([x, x.new_zeros(self.batch_size - rows, *x.shape[1:])])
        try:
            output, seen = self._run(self.model.prepare(filled))
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise EnvironmentFault(f"torch.compile failed: {reason}", remedy=_REMEDY) from error
        self._seen.clear()  # empty again, as it was when the graph was made: otherwise another is made
        for name, hook in hooks.items():
            hook(seen[name][:rows])
        f = output[:rows].float()
        return {"pre_logits": f, "logits": self.model.logits(f)}
