from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from beadseg.config import NETWORK_KINDS, PRESETS, TrainConfig
from beadseg.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

each = pytest.mark.parametrize(("preset", "network"), [(p, n) for p in PRESETS for n in NETWORK_KINDS])
lab = pytest.mark.parametrize(
    ("preset", "network"), [(p, n) for p in ("mitochondria", "microbeads") for n in NETWORK_KINDS]
)


@each
def test_every_preset_exists_for_every_network(preset: str, network: str) -> None:
    config = TrainConfig.preset(preset, network)
    assert config.based_on == preset
    assert config.network.kind == network


def test_the_own_preset_begins_with_the_network_that_starts_from_the_general_model() -> None:
    default = TrainConfig.preset("dense")
    assert default == TrainConfig.preset("dense", "half-unet")
    assert (default.network.kind, default.start_from) == ("half-unet", "general")
    assert TrainConfig.networks("dense") == ("half-unet", *NETWORK_KINDS)
    for preset in ("microbeads", "mitochondria"):
        assert TrainConfig.preset(preset) == TrainConfig.preset(preset, "unet")
        assert TrainConfig.preset(preset).start_from == "none"
        assert TrainConfig.networks(preset) == NETWORK_KINDS
    with pytest.raises(ConfigError, match="no network 'half-unet'"):
        TrainConfig.preset("microbeads", "half-unet")


def test_a_network_of_another_shape_starts_from_nothing_and_says_so() -> None:
    base, notes = TrainConfig.preset("dense"), list[str]()
    narrow = base.with_overrides(["network.width=8", "network.depth=3", "epochs=2"], notes.append)
    assert (narrow.start_from, narrow.network.heads) == ("none", ("foreground", "centre"))
    assert notes == [
        "Training starts from random weights: network.depth and network.width differ from the general model."
    ]
    other = base.with_overrides(["network.kind=unet"], notes.append)
    assert (other.network.kind, other.start_from) == ("unet", "none")
    assert "network.kind differs" in notes[-1]
    assert base.with_overrides(["network.dropout=0.1", "epochs=2"]).start_from == "general"
    assert base.with_overrides(["network.width=8", "start_from=runs/narrow"]).start_from == "runs/narrow"


@lab
def test_both_columns_of_the_laboratorys_table_share(preset: str, network: str) -> None:
    config = TrainConfig.preset(preset, network)
    assert config.optimizer.name == "adam"
    assert config.epoch.kind == "images"
    assert config.epoch.size == 256
    assert config.epochs == 100
    assert config.stop.patience == 20


@pytest.mark.parametrize("network", NETWORK_KINDS)
def test_the_microbeads_column(network: str) -> None:
    config = TrainConfig.preset("microbeads", network)
    assert config.optimizer.lr == 1e-4
    assert config.batch == 32
    assert config.network.dropout == 0.3
    assert config.loss.kind == "dice"
    assert config.split.kind == "stratified"
    assert config.split.val_fraction == 0.15
    assert config.split.bins == 5


@pytest.mark.parametrize(("network", "rate"), [("unet", 1e-3), ("attention-unet", 1e-4), ("attention-resunet", 1e-4)])
def test_the_mitochondria_column(network: str, rate: float) -> None:
    config = TrainConfig.preset("mitochondria", network)
    assert config.optimizer.lr == rate
    assert config.batch is not None
    assert 8 <= config.batch <= 16
    assert config.network.dropout == 0.0
    assert config.loss.kind == "focal"
    assert config.loss.gamma == 2.0
    assert config.split.kind == "random"
    assert config.split.val_fraction == 0.1


@each
def test_yaml_round_trip(preset: str, network: str, tmp_path: Path) -> None:
    changes = ["epochs=7", "split.kind=file", "split.path=a/split.csv"]
    config = TrainConfig.preset(preset, network).with_overrides(changes)
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    assert TrainConfig.from_file(path) == config


def test_overrides_of_any_depth() -> None:
    config = TrainConfig.preset("dense").with_overrides(
        ["optimizer.lr=3e-4", "image.norm.window=96", "stop.patience=5", "network.depth=4", "optimizer.clip=null"]
    )
    assert config.optimizer.lr == 3e-4
    assert config.image.norm.kind == "background"
    assert config.image.norm.window == 96
    assert config.stop.patience == 5
    assert config.network.depth == 4
    assert config.optimizer.clip is None
    assert TrainConfig.preset("dense").optimizer.lr != 3e-4


def test_a_changed_kind_has_its_own_fields() -> None:
    config = TrainConfig.preset("mitochondria").with_overrides(["loss.kind=tversky", "loss.alpha=0.4"])
    assert config.loss.kind == "tversky"
    assert config.loss.alpha == 0.4


def test_a_changed_kind_keeps_what_both_kinds_have_and_names_what_is_lost() -> None:
    config = TrainConfig.preset("dense", "unet").with_overrides(["network.width=24", "network.residual_units=3"])
    notes: list[str] = []
    changed = config.with_overrides(["network.kind=attention-unet"], notes.append)
    assert changed.network.heads == ("foreground", "centre")
    assert changed.network.width == 24
    assert notes == ["Does not apply to network.kind=attention-unet and is left out: residual_units (3)."]
    loss = config.with_overrides(["loss.kind=dice-focal"], notes.append).loss
    assert (loss.kind, loss.dice_weight, loss.batch) == ("dice-focal", 0.7, False)
    assert notes[1:] == ["Does not apply to loss.kind=dice-focal and is left out: ce_per_area (60.0)."]


def test_a_kind_of_a_part_within_a_part_keeps_its_fields() -> None:
    config = TrainConfig.preset("dense").with_overrides(["image.norm.window=96", "centre.target.sigma=0.2"])
    notes: list[str] = []
    norm = config.with_overrides(["image.norm.kind=zscore"], notes.append).image.norm
    assert norm.kind == "zscore"
    assert notes == ["Does not apply to image.norm.kind=zscore and is left out: window (96)."]


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("optimizer.lr=-1", "optimizer.lr"),
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate"),
        ("optimiser.lr=1e-3", "optimizer"),
        ("epochs", "not an assignment"),
        ("loss.kind=hinge", "loss"),
        ("epochs=[1", "cannot be read"),
        ("network.depth=99", "depth"),
    ],
)
def test_a_wrong_override_is_named(assignment: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        TrainConfig.preset("dense").with_overrides([assignment])


def test_an_attention_unet_refuses_a_first_stride_of_two() -> None:
    with pytest.raises(ConfigError, match="first_stride"):
        TrainConfig.preset("dense", "attention-unet").with_overrides(["network.first_stride=2"])


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="dense, microbeads, mitochondria"):
        TrainConfig.preset("sparse")
    with pytest.raises(ConfigError, match="unet, attention-unet, attention-resunet"):
        TrainConfig.preset("dense", "vnet")


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [1\n", ""])
def test_a_file_without_a_configuration_is_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        TrainConfig.from_file(path)
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        TrainConfig.from_file(tmp_path / "missing.yaml")
