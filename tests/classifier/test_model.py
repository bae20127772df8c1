import pytest
import timm
import torch
from torch.nn import functional as F

from neuroconcepts_ray.classifier.config import ClassifierConfig
from neuroconcepts_ray.classifier.model import Classifier, build
from neuroconcepts_ray.classifier.outputs import pool
from neuroconcepts_ray.config import validate
from neuroconcepts_ray.errors import ConfigError

NAMED = {"resnet18": "layer3", "densenet121": "features.denseblock2", "convnext_tiny": "stages.1"}
NAMED |= {"vit_small_patch16_224": "blocks.5"}


def make(backbone: str, size: int = 64, **changes: object) -> Classifier:
    config = validate(ClassifierConfig, {"backbone": backbone, "pixels": {"size": size}, **changes})
    return build(config, ["a", "b", "c"], "multilabel").eval()


def films(size: int = 64, n: int = 2, channels: int = 1) -> torch.Tensor:
    source = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (n, channels, size, size), generator=source, dtype=torch.uint8)


@pytest.mark.parametrize("backbone", NAMED)
def test_logits_are_the_head_on_pre_logits_and_equal_what_timm_itself_computes(backbone: str) -> None:
    model, x = make(backbone), films()
    size = {"img_size": 64} if "vit" in backbone else {}
    other = timm.create_model(backbone, pretrained=False, num_classes=3, **size).eval()
    other.load_state_dict(model.timm_state())
    with torch.inference_mode():
        found = model.forward_taps(x, [NAMED[backbone]])
        by_timm = other(((x.float() / 255 - 0.5) / 0.25).expand(-1, 3, -1, -1))
    f = found["pre_logits"]
    assert f.shape == (2, model.d)
    torch.testing.assert_close(found["logits"].double(), f.double() @ model.W.double().T + model.b, rtol=0, atol=1e-5)
    torch.testing.assert_close(found["logits"], by_timm, rtol=1e-4, atol=1e-4)
    assert found[NAMED[backbone]].shape[0] == 2
    assert found[NAMED[backbone]].ndim == 2


def test_weights_are_named_and_shaped_as_timm_names_and_shapes_them() -> None:
    expected = timm.create_model("convnext_tiny", pretrained=False, num_classes=3).state_dict()
    assert {k: v.shape for k, v in make("convnext_tiny").timm_state().items()} == {
        k: v.shape for k, v in expected.items()
    }


def test_logits_stay_float32_and_exact_when_the_backbone_runs_in_bfloat16() -> None:
    model = make("resnet10t")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = model.forward_taps(films())
    assert {v.dtype for v in found.values()} == {torch.float32}
    exact = F.linear(found["pre_logits"].double(), model.W.double(), model.b.double())
    assert torch.equal(found["logits"], exact.float())


def test_a_tap_of_a_map_is_its_mean_or_maximum_over_positions() -> None:
    model, x, maps = make("resnet10t"), films(), []
    model.backbone.layer2.register_forward_hook(lambda _m, _i, out: maps.append(out.clone()))
    with torch.inference_mode():
        mean = model.forward_taps(x, ["layer2"])["layer2"]
        most = model.forward_taps(x, ["layer2"], reduction="max")["layer2"]
    torch.testing.assert_close(mean, maps[0].mean((2, 3)))
    torch.testing.assert_close(most, maps[0].amax((2, 3)))


def test_a_tap_is_pooled_before_a_later_operation_in_place_overwrites_it() -> None:
    model, x = make("resnet18"), films()
    with torch.inference_mode():
        block = model.backbone.layer1[0]
        kept: list[torch.Tensor] = []
        block.bn2.register_forward_hook(lambda _m, _i, out: kept.append(out.clone()))
        tapped = model.forward_taps(x, ["layer1.0.bn2"])["layer1.0.bn2"]
    torch.testing.assert_close(tapped, kept[0].mean((2, 3)))


def test_tokens_are_averaged_over_patches_without_the_class_token_or_the_class_token_is_taken() -> None:
    model, x, tokens = make("vit_tiny_patch16_224"), films(), []
    model.backbone.blocks[3].register_forward_hook(lambda _m, _i, out: tokens.append(out.clone()))
    with torch.inference_mode():
        mean = model.forward_taps(x, ["blocks.3"])["blocks.3"]
        first = model.forward_taps(x, ["blocks.3"], tokens="class")["blocks.3"]
    torch.testing.assert_close(mean, tokens[0][:, 1:].mean(1))
    torch.testing.assert_close(first, tokens[0][:, 0])


def test_maps_with_channels_last_are_reduced_over_positions_too() -> None:
    x = torch.rand(2, 7, 7, 24)
    torch.testing.assert_close(pool(x, "t"), x.mean((1, 2)))


def test_grey_films_give_what_the_same_films_as_rgb_give() -> None:
    grey, colour = make("resnet10t"), make("resnet10t", mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25])
    x = films()
    with torch.inference_mode():
        assert torch.equal(grey(x), colour(x.expand(-1, 3, -1, -1)))


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second, third = make("resnet10t"), make("resnet10t"), make("resnet10t", seed=1)
    assert torch.equal(first.W, second.W)
    assert not torch.equal(first.W, third.W)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("backbone", "says"),
    [("resnet81", "resnet18"), ("hf-hub:timm/resnet18", "no such backbone")],
)
def test_an_unknown_backbone_is_refused_with_the_names_that_may_have_been_meant(backbone: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make(backbone)


def test_a_model_without_a_linear_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="linear layer"):
        make("deit_tiny_distilled_patch16_224")


def test_a_size_that_the_backbone_cannot_take_is_refused() -> None:
    with pytest.raises(ConfigError):
        make("vit_tiny_patch16_224", size=63, backbone_kwargs={"img_size": 64})


def test_an_argument_that_the_backbone_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be built"):
        make("resnet18", backbone_kwargs={"colour": "blue"})


def test_an_unknown_tap_is_refused_with_near_names() -> None:
    with pytest.raises(ConfigError, match=r"layer3"):
        make("resnet18").forward_taps(films(), ["layr3"])


def test_a_class_token_is_refused_where_the_backbone_has_none() -> None:
    with pytest.raises(ConfigError, match="class token"):
        pool(torch.rand(2, 5, 8), "t", tokens="class", prefix=0)


def test_weights_that_do_not_fit_are_refused_by_the_first_tensor_that_differs() -> None:
    state = make("resnet10t").timm_state()
    state["fc.weight"] = torch.zeros(5, 512)
    with pytest.raises(ConfigError, match=r"fc\.weight"):
        make("resnet10t").load_timm_state(state)
