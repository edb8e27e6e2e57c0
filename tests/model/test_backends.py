"""What computes a network is chosen by a test, remembered, and never changes what is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from beadseg.config.train import HalfUNetConfig
from beadseg.errors import ConfigError
from beadseg.events import Event
from beadseg.model.backends import (
    Backend,
    OpenVinoBackend,
    TorchBackend,
    Wish,
    cache_folder,
    chosen_backend,
    torch_only,
)
from beadseg.model.networks import Network, build_network

CPU = torch.device("cpu")


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return build_network(HalfUNetConfig(depth=3, width=8), 1).eval()


@pytest.fixture
def remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEADSEG_CACHE", str(tmp_path / "cache"))
    return cache_folder() / "backends"


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where the extra is not installed."""
    monkeypatch.setitem(sys.modules, "openvino", None)


def tile() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(1, 64, 96)).astype(np.float32)


def alike(backend: Backend, x: NDArray[np.float32]) -> bool:
    return True


def choose(network: Network, wish: Wish, agrees: Any = alike, model: str = "abc") -> tuple[Backend, list[str]]:
    said: list[Event] = []
    return chosen_backend(network, wish, tile, agrees, model, said.append), [event.message for event in said]


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 160)], ids=["one", "a batch"])
def test_openvino_computes_what_torch_does_at_any_size(network: Network, shape: tuple[int, int, int]):
    pytest.importorskip("openvino")
    x = np.random.default_rng(1).normal(size=(shape[0], 1, *shape[1:])).astype(np.float32)
    compiled = OpenVinoBackend(network, 1)
    exact = TorchBackend(network)(x)
    assert exact.shape == (shape[0], 1, *shape[1:])
    assert np.allclose(compiled(x), exact, atol=1e-4)
    first = compiled(x)
    compiled(x + 1)
    assert np.allclose(first, exact, atol=1e-4)  # a later call does not write into it


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_signal_is_heard_after_openvino_computed():
    """In a process of its own: it ended in a segmentation fault once another thread had given the first network up."""
    code = """
import gc, signal, threading
from beadseg.config.train import HalfUNetConfig
from beadseg.model.backends import OpenVinoBackend
from beadseg.model.networks import build_network
network = build_network(HalfUNetConfig(depth=2, width=4), 1).eval()
heard = []
signal.signal(signal.SIGINT, lambda *_: heard.append("heard"))
backends = [OpenVinoBackend(network, 1)]
thread = threading.Thread(target=lambda: (backends.clear(), gc.collect()))
thread.start()
thread.join()
signal.raise_signal(signal.SIGINT)
print(*heard)
"""
    # So that memory that was given back is gone at once.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "4096"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_openvino_does_not_report_to_its_maker():
    pytest.importorskip("openvino")
    code = """
import sys
from beadseg.config.train import HalfUNetConfig
from beadseg.model.backends import OpenVinoBackend
from beadseg.model.networks import build_network
OpenVinoBackend(build_network(HalfUNetConfig(depth=3, width=4), 1).eval(), 1)
print([name for name in sys.modules if "telemetry" in name and "openvino.tools" not in name])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_choice_is_remembered_and_not_tested_again(network: Network, remembered: Path):
    asked: list[str] = []

    def agrees(backend: Backend, x: NDArray[np.float32]) -> bool:
        asked.append(backend.name)
        return True

    first, _ = choose(network, Wish(precision="bf16"), agrees)
    assert asked
    (file,) = remembered.glob("*.json")
    assert json.loads(file.read_text())["backend"] == first.name
    asked.clear()
    again, said = choose(network, Wish(precision="bf16"), agrees)
    assert (again.name, again.precision, asked, said) == (first.name, "bf16", [], [])
    choose(network, Wish(precision="bf16"), agrees, model="another")
    assert asked


def test_beside_training_torch_computes_whatever_is_asked_for(network: Network, remembered: Path):
    """A second runtime in the process of a training made it crash."""
    with torch_only():
        with torch_only():
            assert choose(network, Wish("openvino", "fp32"))[0].name == "torch"
        assert choose(network, Wish())[0].name == "torch"
    assert choose(network, Wish("openvino", "fp32"))[0].name == "openvino"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"backend": "abacus", "precision": "bf16", "channels": 1}'])
def test_a_damaged_memory_is_made_again(network: Network, remembered: Path, text: str):
    choose(network, Wish(precision="bf16"))
    (file,) = remembered.glob("*.json")
    file.write_text(text)
    choose(network, Wish(precision="bf16"))
    assert json.loads(file.read_text())["backend"] in ("torch", "openvino")


def test_a_cache_that_cannot_be_written_does_no_harm(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cache").write_text("a file in the way")
    monkeypatch.setenv("BEADSEG_CACHE", str(tmp_path / "cache"))
    assert choose(network, Wish(precision="bf16"))[0].precision == "bf16"


def test_what_finds_other_beads_is_not_used(network: Network, remembered: Path):
    def agrees(backend: Backend, x: NDArray[np.float32]) -> bool:
        return backend.name == "torch" and backend.precision == "fp32"

    backend, said = choose(network, Wish(precision="bf16"), agrees)
    assert (backend.name, backend.precision) == ("torch", "fp32")
    assert any("torch bf16 disagrees with fp32" in text for text in said)


def test_auto_works_without_the_extra(network: Network, remembered: Path, without_openvino: None):
    assert choose(network, Wish())[0].name == "torch"


def test_openvino_that_is_not_installed_is_one_clear_error(network: Network, without_openvino: None):
    with pytest.raises(ConfigError, match="OpenVINO is not installed") as error:
        choose(network, Wish("openvino"))
    assert "pip install 'beadseg[fast]'" in error.value.remedy


def test_openvino_is_not_for_gpus():
    with pytest.raises(ConfigError, match="computes on the CPU"):
        Wish("openvino").candidates(torch.device("cuda"))
    assert {name for name, _ in Wish().candidates(torch.device("meta"))} == {"torch"}


def test_a_compiled_network_is_kept_and_a_damaged_one_is_compiled_again(network: Network, tmp_path: Path):
    pytest.importorskip("openvino")
    x = tile()[np.newaxis]
    kept = tmp_path / "cache" / "network.blob"
    exact = OpenVinoBackend(network, 1, kept=kept)(x)
    whole = kept.read_bytes()
    assert np.array_equal(OpenVinoBackend(network, 1, kept=kept)(x), exact)
    other = build_network(HalfUNetConfig(depth=3, width=8), 1).eval()
    assert np.array_equal(OpenVinoBackend(other, 1, kept=kept)(x), exact)  # what was kept is what is computed
    for damaged in (b"", whole[:1000], whole[:-1] + bytes([whole[-1] ^ 1])):
        kept.write_bytes(damaged)
        assert np.allclose(OpenVinoBackend(network, 1, kept=kept)(x), exact, atol=1e-6)
