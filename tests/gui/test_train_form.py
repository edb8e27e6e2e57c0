"""The form of a training's settings, made from the configuration itself."""

from __future__ import annotations

from typing import Any

import pytest

from beadseg.config import NETWORK_KINDS, PRESETS, TrainConfig
from beadseg.errors import ConfigError
from beadseg.widgets.form.schema import Alternatives, leaves, schema_of

pytestmark = pytest.mark.gui
pytest.importorskip("qtpy")


def test_every_field_has_title_help_and_bounds_of_the_configuration() -> None:
    found = dict(leaves(schema_of(TrainConfig)))
    assert all(leaf.title and leaf.help for leaf in found.values())
    assert found["optimizer.lr"].title == "Peak learning rate"
    assert str(found["network.dropout"].bounds) == "≥ 0, < 1"
    assert found["network.depth"].none_means == "planned from the bead diameter"
    assert found["optimizer.clip"].none_means == "not clipped"
    assert found["precision"].choices == ("auto", "fp32", "bf16", "fp16")
    kinds = {part.name: list(part.options) for part in schema_of(TrainConfig).parts if isinstance(part, Alternatives)}
    assert kinds["network"] == [*NETWORK_KINDS, "half-unet"]
    assert kinds["loss"] == ["dice", "focal", "dice-ce", "dice-focal", "tversky"]


@pytest.fixture
def form(qtbot: Any) -> Any:
    from beadseg.widgets.form.form import Form

    form = Form(TrainConfig, hidden=("based_on",))
    qtbot.addWidget(form)
    form.show()
    return form


def test_every_preset_comes_back_as_it_was_shown(form: Any) -> None:
    for preset in PRESETS:
        for network in TrainConfig.networks(preset):
            config = TrainConfig.preset(preset, network)
            form.setValue(config)
            assert form.value() == config


def test_a_person_changes_values(form: Any, qtbot: Any) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QLabel

    form.setValue(TrainConfig.preset("dense"))
    rate = form.editor("optimizer.lr").line
    rate.selectAll()
    with qtbot.waitSignal(form.valueChanged):
        qtbot.keyClicks(rate, "3e-5")
    assert form.value().optimizer.lr == 3e-5
    bold = [label.text() for label in form.findChildren(QLabel) if label.font().bold()]
    assert bold == ["Peak learning rate"]

    form.setPlanned({"batch": 8})
    batch = form.editor("batch")
    assert form.value().batch is None
    assert (batch.inner.value(), batch.inner.isEnabled()) == (8, False)
    batch.none.click()
    batch.inner.box.setFocus()
    qtbot.keyClick(batch.inner.box, Qt.Key.Key_Up)
    assert form.value().batch == 9

    rate.selectAll()
    qtbot.keyClicks(rate, "7")
    with pytest.raises(ConfigError, match=r"optimizer\.lr"):
        form.value()


def test_another_kind_starts_from_its_own_defaults(form: Any, qtbot: Any) -> None:
    from qtpy.QtCore import Qt

    from beadseg.widgets.form.form import AlternativesForm

    form.setValue(TrainConfig.preset("dense"))
    loss = next(part for part in form.findChildren(AlternativesForm) if part.kind.findText("tversky") >= 0)
    loss.kind.setFocus()
    with qtbot.waitSignal(form.valueChanged):
        qtbot.keyClick(loss.kind, Qt.Key.Key_End)
        loss.kind.activated.emit(loss.kind.currentIndex())
    assert form.value().loss == TrainConfig.preset("dense").with_overrides(["loss.kind=tversky"]).loss
    assert form.editor("loss.alpha").isVisibleTo(loss)


def test_search_shows_what_matches_and_opens_it(form: Any, qtbot: Any) -> None:
    form.setValue(TrainConfig.preset("dense"))
    assert not form.editor("optimizer.lr").isVisible()
    qtbot.keyClicks(form.search, "learning rate")
    assert form.editor("optimizer.lr").isVisible()
    assert not form.editor("epochs").isVisible()
    form.search.clear()
    assert form.editor("epochs").isVisible()
    assert not form.editor("optimizer.lr").isVisible()


def test_the_networks_offered_are_those_of_the_preset(qtbot: Any) -> None:
    from beadseg.widgets.train.setup_panel import SetupPanel

    panel = SetupPanel()
    qtbot.addWidget(panel)

    def offered() -> tuple[str, ...]:
        return tuple(panel.network.itemText(at) for at in range(panel.network.count()))

    assert offered() == TrainConfig.networks("dense")
    assert panel.base() == TrainConfig.preset("dense")
    panel.preset.setCurrentText("microbeads")
    assert offered() == NETWORK_KINDS
    assert panel.base() == TrainConfig.preset("microbeads", "unet")
    panel.network.setCurrentText("attention-unet")
    panel.preset.setCurrentText("dense")
    assert panel.base() == TrainConfig.preset("dense", "attention-unet")
    panel.show_config(TrainConfig.preset("dense"))
    assert panel.base() == TrainConfig.preset("dense", "half-unet")
