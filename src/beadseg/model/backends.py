"""What computes a network, on which device: torch, or OpenVINO on CPUs. The fastest that finds torch's beads is kept.

A choice is a file in the user's cache folder, one per machine, model and version. A lost or damaged one is made again.
"""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import platform
import sys
import threading
import time
import warnings
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from platformdirs import user_cache_path

import beadseg
from beadseg.errors import BeadsegError, ConfigError, MachineError
from beadseg.events import OnEvent, log
from beadseg.files import ensure_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray
    from torch import nn

TORCH, OPENVINO = "torch", "openvino"
INSTALL = "Install it: pip install 'beadseg[fast]'. Or use --backend auto or torch."
_OPENVINO_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
_DIGEST = 32
"""Bytes of a SHA-256."""
TIMED_PX = 512
"""Side of the tile that backends are timed with, px."""
REPEATS = 3
"""Each is timed so often, in turn; the shortest time counts."""
_TRAINING: list[bool] = []
"""As long as what trains in this process."""
HOPELESS = 2.0
"""What takes so many times as long as the fastest is not timed again."""


class Backend(Protocol):
    """Computes the logits (N, K, Y, X) of inputs (N, C, Y, X), float32, on the CPU.

    Attributes
    ----------
    name : str
        ``torch`` or ``openvino``.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic.
    network : torch.nn.Module
        What is computed: Y and X must be multiples of its `size_multiple`.
    """

    name: str
    precision: Precision
    network: nn.Module

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits."""


class TorchBackend:
    """The network as it is, on the device where it lies, in evaluation mode."""

    name = TORCH

    def __init__(self, network: nn.Module, precision: Precision = "fp32") -> None:
        self.network, self.precision = network, precision
        self.device = next(network.parameters()).device

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits."""
        with torch.inference_mode(), arithmetic(self.precision, self.device):
            inputs = torch.from_numpy(x).to(self.device, memory_format=torch.channels_last)
            result: NDArray[np.float32] = self.network(inputs).float().cpu().numpy()
        return result


class OpenVinoBackend:
    """The network compiled by OpenVINO for this CPU, for images of any size.

    `kept` is a file that the compiled network is read from, where it is there and whole, and written to otherwise.

    Raises
    ------
    ConfigError
        OpenVINO is not installed.
    MachineError
        OpenVINO cannot compute this network.
    """

    name = OPENVINO

    def __init__(
        self, network: nn.Module, channels: int, precision: Precision = "fp32", kept: Path | None = None
    ) -> None:
        self.network, self.precision = network, precision
        self._alone = threading.Lock()
        settings = {
            "INFERENCE_PRECISION_HINT": _OPENVINO_PRECISIONS[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "ENABLE_CPU_PINNING": False,  # processes that share a machine would all be pinned to its first cores
        }
        try:
            compiled = None if kept is None else _imported(kept, settings)
            if compiled is None:
                compiled = _core().compile_model(_converted(network, channels), "CPU", settings)
                if kept is not None:
                    _keep(kept, compiled.export_model())
            self._compiled: Any = compiled
        except RuntimeError as error:
            raise MachineError(f"OpenVINO cannot compute this network ({_first_line(error)}).", "--backend",
                               "Use --backend torch.") from error  # fmt: skip

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits."""
        with self._alone:  # there is one set of buffers, which the next call writes into
            found = self._compiled([np.ascontiguousarray(x)], share_inputs=True, share_outputs=True)[0]
            result: NDArray[np.float32] = np.array(found, np.float32)
        return result


def _converted(network: nn.Module, channels: int) -> Any:
    """Return the network as a model of OpenVINO with open batch, height and width."""
    side = 2 * int(network.size_multiple)  # type: ignore[arg-type]
    example = torch.zeros(1, channels, side, side, device=next(network.parameters()).device)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: sizes that only decide whether to raise
        # OpenVINO's own tracing takes five times as long.
        traced = torch.jit.trace(network, example, check_trace=False)
        openvino = _openvino()
        shape = openvino.PartialShape([-1, channels, -1, -1])
        with _without_telemetry():
            return openvino.convert_model(traced, example_input=example, input=shape)


def _imported(path: Path, settings: dict[str, Any]) -> Any:
    """Return the compiled network of a file; None where there is none, or not as it was written."""
    try:
        stored = path.read_bytes()
        digest, blob = stored[:_DIGEST], stored[_DIGEST:]
        if hashlib.sha256(blob).digest() == digest:
            return _core().import_model(io.BytesIO(blob), "CPU", settings)
    except (OSError, RuntimeError):
        pass
    return None


def _keep(path: Path, blob: Any) -> None:
    blob = bytes(blob.getvalue() if hasattr(blob, "getvalue") else blob)
    with suppress(BeadsegError, OSError):
        ensure_folder(path.parent)
        write_atomically(path, hashlib.sha256(blob).digest() + blob)


@cache
def _core() -> Any:
    """Return OpenVINO's engine, one for the whole process.

    An engine that another thread deletes takes the stack along on which the thread that made it handles signals: the
    next Ctrl-C would be a segmentation fault.
    """
    return _openvino().Core()


def _openvino() -> Any:
    """Return OpenVINO, imported without its telemetry, which would report every import to its maker."""
    with _without_telemetry():
        try:
            import openvino
        except ImportError:
            raise ConfigError("OpenVINO is not installed.", "--backend", INSTALL) from None
    return openvino


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Let OpenVINO's telemetry appear missing, unless it was imported before."""
    name = "openvino_telemetry"
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip().rstrip(".")


@dataclass(frozen=True)
class Wish:
    """Which backend and which arithmetic somebody asks for.

    Attributes
    ----------
    backend : {"auto", "torch", "openvino"}
    precision : {"auto", "fp32", "bf16", "fp16"}
    """

    backend: str = "auto"
    precision: str = "auto"

    def candidates(self, device: torch.device) -> list[tuple[str, Precision]]:
        """Return what may be used on a device, torch first.

        Raises
        ------
        ConfigError
            OpenVINO is asked for, and not installed, or for a GPU.
        """
        best = choose_precision(self.precision, device)
        precisions: list[Precision] = ["fp32", best] if self.precision == "auto" and best != "fp32" else [best]
        if self.backend == OPENVINO and device.type != "cpu":
            text = f"OpenVINO computes on the CPU, and the device is {device}."
            raise ConfigError(text, "--backend", "Use --device cpu, or --backend torch.")
        with_torch = [] if self.backend == OPENVINO else [(TORCH, each) for each in precisions]
        with_openvino = [(OPENVINO, each) for each in precisions] if self.openvino_on(device) else []
        return [*with_torch, *with_openvino]

    def openvino_on(self, device: torch.device) -> bool:
        """Return whether OpenVINO is to be looked at; ``auto`` does where it is installed."""
        if self.backend == "auto":
            return device.type == "cpu" and find_spec(OPENVINO) is not None
        return self.backend == OPENVINO


def chosen_backend(
    network: nn.Module,
    wish: Wish,
    tile: Callable[[], NDArray[np.float32]],
    agrees: Callable[[Backend, NDArray[np.float32]], bool],
    model: str,
    on_event: OnEvent,
) -> Backend:
    """Return the fastest backend of those wished for that finds the same beads as torch does in fp32.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode, on the device to use.
    wish : Wish
        What to choose from.
    tile : callable
        Returns a prepared image with beads (C, Y, X) float32, which the candidates are tested and timed with.
    agrees : callable
        Tells whether a backend finds the beads in that image that torch finds in fp32.
    model : str
        What the weights are known by. Empty: nothing is remembered, and ``auto`` does not look beyond torch.
    on_event
        Is told what was chosen, when it had to be tested.
    """
    device = next(network.parameters()).device
    if _TRAINING or (not model and wish.backend == "auto"):
        wish = Wish(TORCH, wish.precision)
    candidates = wish.candidates(device)
    if candidates == [(TORCH, "fp32")]:
        return TorchBackend(network)
    key = _key(model, device, candidates) if model else ""
    kept, channels = _remembered(key)
    if kept in candidates:
        with suppress(MachineError):
            return _made(network, kept, channels, key)
    x = tile()
    found = _agreeing(network, candidates, x, agrees, on_event) or [TorchBackend(network)]
    times = _times(found, x) if len(found) > 1 and key else {}
    best = min(found, key=lambda each: times[_name(each)]) if times else found[-1]
    if len(times) > 1:
        listed = ", ".join(f"{name} {seconds * 1e3:.0f} ms" for name, seconds in times.items())
        on_event(log(f"The network is computed by {_name(best)}, the fastest of those that find the same beads "
                     f"({listed} per tile). This is remembered for this machine and model."))  # fmt: skip
    if best.name == OPENVINO and key:
        best = _made(network, (best.name, best.precision), len(x), key)
    _remember(key, {"backend": best.name, "precision": best.precision, "channels": len(x), "seconds": times})
    return best


@contextmanager
def torch_only() -> Iterator[None]:
    """Let torch compute every network, whatever is asked for.

    Around all that trains: a second runtime in the same process, with threads of its own, has made training crash.
    """
    _TRAINING.append(True)
    try:
        yield
    finally:
        _TRAINING.pop()


def _made(network: nn.Module, kind: tuple[str, Precision], channels: int, key: str = "") -> Backend:
    name, precision = kind
    if name == TORCH:
        return TorchBackend(network, precision)
    return OpenVinoBackend(network, channels, precision, _folder() / f"{key}.blob" if key else None)


def _agreeing(
    network: nn.Module, candidates: list[tuple[str, Precision]], x: NDArray[np.float32],
    agrees: Callable[[Backend, NDArray[np.float32]], bool], on_event: OnEvent,
) -> list[Backend]:  # fmt: skip
    """Return the candidates that find the beads of fp32; report which do not."""
    found: list[Backend] = []
    for kind in candidates:
        try:
            backend = _made(network, kind, len(x))
        except BeadsegError as error:
            if all(name == OPENVINO for name, _ in candidates):  # what was asked for
                raise
            on_event(log(f"{error.what} Other ways are used.", "warning"))
            continue
        if kind == (TORCH, "fp32") or agrees(backend, x):
            found.append(backend)
        else:
            on_event(log(f"{_name(backend)} disagrees with fp32 on this machine, and is not used.", "warning"))
    return found


def _times(backends: list[Backend], tile: NDArray[np.float32]) -> dict[str, float]:
    """Return the seconds that each needs for a tile of `TIMED_PX`, made of copies of `tile`.

    On a CPU of the processor, which other programs do not lengthen. The first time includes making ready. Those that
    are still far behind the best are not asked again.
    """
    more = [(0, max(0, TIMED_PX - side)) for side in tile.shape[1:]]
    x = np.pad(tile, [(0, 0), *more], mode="wrap")[:, :TIMED_PX, :TIMED_PX][np.newaxis]
    on_cpu = next(backends[0].network.parameters()).device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    times = {_name(each): np.inf for each in backends}
    for turn in range(REPEATS):
        best = min(times.values())
        for backend in backends:
            name = _name(backend)
            if turn == 0 or times[name] <= HOPELESS * best:
                start = clock()
                backend(x)
                times[name] = min(times[name], clock() - start)
    return times


def _name(backend: Backend) -> str:
    return f"{backend.name} {backend.precision}"


def cache_folder() -> Path:
    """Return the folder for what can be lost and made again: ``BEADSEG_CACHE``, else in the user's cache folder."""
    given = os.environ.get("BEADSEG_CACHE")
    try:
        return Path(given) if given else user_cache_path("beadseg", appauthor=False)
    except RuntimeError:  # a user without a home folder, as in some containers: nothing is kept
        return Path(os.devnull)


def _folder() -> Path:
    return cache_folder() / "backends"


def _key(model: str, device: torch.device, candidates: list[tuple[str, Precision]]) -> str:
    """Return what a choice is remembered under: whatever could change it."""
    versions = [beadseg.__version__, torch.__version__, metadata.version(OPENVINO) if find_spec(OPENVINO) else ""]
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    known = [model, str(device), gpu, _machine(), torch.get_num_threads(), candidates, *versions]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


@cache
def _machine() -> list[str]:
    """Return what tells processors apart: machines that share a home folder need not be alike."""
    named = [platform.machine(), platform.processor(), str(os.cpu_count())]
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        named += sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    return named


def _remembered(key: str) -> tuple[tuple[str, Any], int]:
    """Return backend, arithmetic and input channels of an earlier choice; nothing where none can be read."""
    try:
        said = json.loads((_folder() / f"{key}.json").read_text(encoding="utf-8"))
        return (str(said["backend"]), str(said["precision"])), int(said["channels"])
    except (OSError, ValueError, KeyError, TypeError):
        return ("", ""), 0


def _remember(key: str, said: dict[str, Any]) -> None:
    """Keep a choice for the next command; a cache folder that cannot be written to does no harm."""
    if key:
        with suppress(BeadsegError, OSError):
            folder = ensure_folder(_folder())
            write_atomically(folder / f"{key}.json", json.dumps(said))


Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DEVICE_KINDS = ("cpu", "cuda", "mps", "xpu")
"""Kinds of devices that networks can be computed on."""
_CPU_BF16_FLAGS = ("amx_bf16", "avx512_bf16")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called `name` (``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``).

    Raises
    ------
    ConfigError
        No device has this name.
    MachineError
        The device is not there, or its driver is not.
    """
    if name == "auto":
        return torch.device(automatic(cuda=torch.cuda.is_available(), mps=torch.backends.mps.is_available()))
    kind, _, number = name.partition(":")
    if kind not in DEVICE_KINDS or (":" in name and not number.isdecimal()):
        raise ConfigError(f"No device is called {name!r}.", "--device", "Choose one of: auto, cpu, cuda, cuda:1, mps.")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0].rstrip(".")
        raise MachineError(f"The device {name!r} cannot be used: {first}.", "--device", "Use --device cpu.") from None
    return device


def automatic(*, cuda: bool, mps: bool) -> str:
    """Return the kind of device that ``auto`` stands for, given which GPUs there are; Apple's comes last."""
    return "cuda" if cuda else "mps" if mps else "cpu"


def cpu_has_bf16() -> bool:
    """Return whether the processor multiplies bf16 in hardware (without it, bf16 is far slower than fp32)."""
    if platform.system() != "Linux":
        return False
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(flag in info for flag in _CPU_BF16_FLAGS)


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """Return the arithmetic for `wanted` (``auto``, ``fp32``, ``bf16``, ``fp16``) on `device`.

    ``auto`` is bf16 where the hardware has it, fp32 otherwise.
    """
    if wanted != "auto":
        if wanted == "fp16" and device.type == "cpu":
            raise MachineError("fp16 needs a GPU.", "precision", "Use precision=auto or fp32.")
        return "fp32" if wanted == "fp32" else "bf16" if wanted == "bf16" else "fp16"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def arithmetic(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context of `precision`; fp32 switches it off."""
    if precision == "fp32" and device.type not in ("cpu", "cuda"):  # torch 2.4 has no autocast there to switch off
        return nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision], enabled=precision != "fp32")


def free_memory(error: BaseException | None = None) -> None:
    """Give back what is not used any more, after memory ran out.

    Parameters
    ----------
    error : BaseException, optional
        What was raised: the functions that it came through still hold their tensors, until they are cleared here.
    """
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
