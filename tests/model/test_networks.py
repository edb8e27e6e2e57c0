from __future__ import annotations

import pytest
import torch
from monai.networks.nets.attentionunet import UpConv
from torch import nn

from beadseg.config.train import (
    AttentionResUnetConfig,
    AttentionUnetConfig,
    DiceCELossConfig,
    HalfUNetConfig,
    NetworkConfig,
    UNetConfig,
)
from beadseg.errors import ConfigError, InputError
from beadseg.model.losses import build_loss
from beadseg.model.networks import build_network

SMALL: list[NetworkConfig] = [
    UNetConfig(depth=3, width=8, first_stride=1),
    UNetConfig(depth=3, width=8, first_stride=2),
    UNetConfig(depth=3, width=8, first_stride=1, residual_units=0),
    AttentionUnetConfig(depth=3, width=8),
    AttentionResUnetConfig(depth=3, width=8, first_stride=1),
    AttentionResUnetConfig(depth=3, width=8, first_stride=2, residual_units=1),
]
every = pytest.mark.parametrize("config", SMALL, ids=lambda c: f"{c.kind}-{c.first_stride}")


def randomise_norms(network: nn.Module) -> None:
    """Give the norms statistics as after training, so that evaluation does not run on zeros and ones."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)


@every
def test_shapes_sizes_and_prior(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network = build_network(config, 3).eval()
    side = 4 * network.size_multiple
    logits = network(torch.randn(2, 3, side, 2 * side).to(memory_format=torch.channels_last))
    assert logits.shape == (2, 1, side, 2 * side)
    assert logits.mean().item() == pytest.approx(-3.0, abs=0.7)


@every
def test_a_size_that_does_not_fit_is_refused_and_all_multiples_fit(config: NetworkConfig) -> None:
    network = build_network(config, 1).eval()
    unit = network.size_multiple
    with pytest.raises(InputError, match=f"multiples of {unit}"):
        network(torch.zeros(1, 1, 4 * unit + 1, 4 * unit))
    with torch.no_grad():
        for times in (3, 5):
            assert network(torch.zeros(1, 1, times * unit, 4 * unit)).shape[-2:] == (times * unit, 4 * unit)


@pytest.mark.parametrize(
    ("config", "multiple"),
    [
        (UNetConfig(depth=4, first_stride=1), 4),
        (UNetConfig(depth=4, first_stride=2), 8),
        (AttentionUnetConfig(depth=4), 8),
        (AttentionResUnetConfig(depth=4, first_stride=1), 8),
        (AttentionResUnetConfig(depth=4, first_stride=2), 16),
    ],
)
def test_size_multiple(config: NetworkConfig, multiple: int) -> None:
    assert build_network(config, 1).size_multiple == multiple


@every
def test_training_lowers_the_loss(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network = build_network(config, 1)
    loss = build_loss(DiceCELossConfig())
    image = torch.zeros(2, 1, 32, 32)
    image[:, :, 8:20, 8:20] = -1.0
    target = (image < 0).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        value = loss(network(image + 0.1 * torch.randn_like(image)), target)
        optimizer.zero_grad()
        value.backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < 0.7 * losses[0]


@every
def test_a_tile_gives_what_the_whole_image_gives(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network = build_network(config, 1)
    randomise_norms(network)
    network.eval()
    nn.init.normal_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    image = torch.randn(1, 1, 192, 192)
    with torch.no_grad():
        whole, tile = network(image), network(image[..., 32:160, 32:160])
    spread = whole[..., 80:112, 80:112].std().item()
    assert spread > 1e-3
    torch.testing.assert_close(tile[..., 48:80, 48:80], whole[..., 80:112, 80:112], atol=1e-3 * spread, rtol=0)


@every
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_one_norm_and_relu_everywhere(config: NetworkConfig, norm: str) -> None:
    network = build_network(config.replace(norm=norm), 1)
    kinds = {type(module).__name__ for module in network.modules()}
    wanted, other = ("BatchNorm2d", "InstanceNorm2d") if norm == "batch" else ("InstanceNorm2d", "BatchNorm2d")
    assert wanted in kinds
    assert other not in kinds
    assert "ReLU" in kinds
    assert "PReLU" not in kinds


@every
def test_dropout_acts_in_training_only(config: NetworkConfig) -> None:
    torch.manual_seed(0)
    network = build_network(config.replace(dropout=0.5), 1)
    image = torch.randn(1, 1, 32, 32)
    rates = {module.p for module in network.modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.5}
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_attention_unet_drops_in_its_upsampling_too() -> None:
    network = build_network(AttentionUnetConfig(depth=3, width=8, dropout=0.5), 1)
    ups = [module for module in network.modules() if isinstance(module, UpConv)]
    assert len(ups) == 2
    assert all(any(isinstance(m, nn.Dropout) for m in up.modules()) for up in ups)


def test_width_is_capped() -> None:
    capped = build_network(UNetConfig(depth=5, width=16, max_width=32, first_stride=1), 1)
    assert max(m.out_channels for m in capped.modules() if isinstance(m, nn.Conv2d)) == 32


def test_the_same_seed_gives_the_same_weights() -> None:
    for config in SMALL:
        states = []
        for _ in range(2):
            torch.manual_seed(5)
            states.append(build_network(config, 1).state_dict())
        assert all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_what_a_network_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"network\.depth"):
        build_network(UNetConfig(first_stride=1), 1)
    with pytest.raises(ConfigError, match=r"network\.first_stride"):
        build_network(AttentionResUnetConfig(depth=3), 1)
    with pytest.raises(ConfigError, match="full-resolution"):
        AttentionUnetConfig.parse({"first_stride": 2})
    with pytest.raises(ConfigError, match="full-resolution"):
        build_network(AttentionUnetConfig(depth=3).model_copy(update={"first_stride": 2}), 1)
    with pytest.raises(ConfigError, match="heads"):
        UNetConfig.parse({"heads": []})


@every
def test_every_network_has_a_centre_map_beside_the_foreground(config: NetworkConfig) -> None:
    network = build_network(config.replace(heads=("foreground", "centre")), 1).eval()
    side = 4 * network.size_multiple
    assert network(torch.zeros(1, 1, side, side)).shape == (1, 2, side, side)


@pytest.mark.parametrize("heads", [[], ["centre"], ["centre", "foreground"], ["foreground", "foreground"]])
def test_heads_begin_with_the_foreground(heads: list[str]) -> None:
    with pytest.raises(ConfigError, match="heads are"):
        UNetConfig.parse({"heads": heads})


def test_half_resolution_network_gives_three_maps_at_full_resolution_for_a_third_of_the_cost() -> None:
    heads = ("foreground", "centre", "size")
    network = build_network(HalfUNetConfig(depth=3, width=8, max_width=16, heads=heads), 1).eval()
    image = torch.zeros((1, 1, 48, 64))
    image[0, 0, 20, 31] = 1.0
    with torch.inference_mode():
        logits = network(image)
        shifted = network(torch.roll(image, (8, 8), (2, 3)))
    assert logits.shape == (1, 3, 48, 64)
    assert network.size_multiple == 8
    inner = (slice(None), slice(None), slice(16, 40), slice(16, 56))
    assert torch.allclose(torch.roll(logits, (8, 8), (2, 3))[inner], shifted[inner], atol=1e-5)
    assert torch.allclose(logits[:, :2].mean(), torch.tensor(-3.0), atol=0.3)  # the prior, before any training
