"""Which device and which arithmetic: chosen from what the machine has, checked before use."""

from __future__ import annotations

import gc
import platform
from contextlib import nullcontext
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING, Literal

import torch

from beadseg.errors import ConfigError, MachineError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

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
        There is no such kind of device.
    MachineError
        The device is not there, or its driver is not.
    """
    if name == "auto":
        return torch.device(automatic(cuda=torch.cuda.is_available(), mps=torch.backends.mps.is_available()))
    kind, _, number = name.partition(":")
    if kind not in DEVICE_KINDS or (":" in name and not number.isdecimal()):
        raise ConfigError(f"There is no device {name!r}.", "--device", "Choose one of: auto, cpu, cuda, cuda:1, mps.")
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
