"""Models on disk: those of earlier versions, and those with fitted settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from predict_helpers import FINGERPRINT

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.errors import RunError
from beadseg.model.checkpoint import general_file, model_name, named_model, save_checkpoint, which_general
from beadseg.model.networks import build_network
from beadseg.predict.segmenter import Segmenter


def write_model(folder: Path, heads: str = "[foreground]", **meta: Any) -> dict[str, Any]:
    config = TrainConfig.preset("dense", "unet").with_overrides(
        ["network.depth=3", "network.first_stride=1", "network.width=4", "predict.objects.diameter=7",
         f"network.heads={heads}"]
    )  # fmt: skip
    values = config.model_dump(mode="json")
    network = build_network(config.network, 3)
    described = {"kind": "model", "in_channels": 3, "config": values, "fingerprint": FINGERPRINT, **meta}
    save_checkpoint(folder / files.BEST, network.state_dict(), described)
    return values


def test_a_model_from_before_there_were_centre_maps_still_predicts(tmp_path: Path):
    values = write_model(tmp_path)
    for name in ("centre", "tune"):
        del values[name]
    for name in ("seeds", "min_confidence", "border", "min_focus"):
        del values["predict"]["objects"][name]
    write_model(tmp_path, config=values)
    segmenter = Segmenter.load(tmp_path, device="cpu")
    maps = segmenter.maps(torch.rand(3, 64, 64).numpy())
    assert maps.centre is None
    assert maps.probability.shape == (64, 64)


def test_fitted_settings_are_those_of_prediction(tmp_path: Path):
    values = write_model(tmp_path, "[foreground, centre]")
    fitted = {**values["predict"]["objects"], "min_confidence": 0.3}
    write_model(tmp_path, "[foreground, centre]", objects=fitted)
    segmenter = Segmenter.load(tmp_path, device="cpu")
    assert segmenter.options.objects.min_confidence == 0.3
    assert segmenter.config.predict.objects.min_confidence == 0.0
    assert segmenter.maps(torch.rand(3, 64, 64).numpy()).centre is not None


def test_fitted_settings_that_are_damaged_are_one_clear_error(tmp_path: Path):
    write_model(tmp_path, objects={"threshold": 7})
    with pytest.raises(RunError, match="Does not fit this version"):
        Segmenter.load(tmp_path, device="cpu")


def test_the_name_general_is_the_model_that_comes_with_beadseg_and_a_path_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert named_model("general") == general_file()
    assert model_name(general_file()) == "general"
    assert which_general(general_file()) == ""
    folder = tmp_path / "general"
    folder.mkdir()
    assert "give ./general" in which_general(general_file())
    for path in ("./general", str(folder), Path("general")):
        assert named_model(path) == Path(path)
        assert model_name(Path(path)) == str(folder)
        assert which_general(Path(path)) == ""
