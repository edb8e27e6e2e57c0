"""What a run is computed with."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from beadseg.files import unstaged


def environment(device: torch.device) -> dict[str, Any]:
    """Return what a run was computed with: versions, machine, threads, command."""
    packages = ("beadseg", "torch", "monai", "numpy", "scikit-image", "scikit-learn")
    return {
        "schema_version": 1,
        "command": [str(unstaged(Path(word))) if word.startswith("/") else word for word in sys.argv],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "host": platform.node(),
        "job": os.environ.get("PBS_JOBID") or os.environ.get("SLURM_JOB_ID", ""),
    }
