"""What the user set in napari's preferences under beadseg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PLUGIN = "beadseg"


@dataclass(frozen=True)
class PluginSettings:
    """The plugin's settings, as `napari.yaml` declares them.

    Attributes
    ----------
    device : str
        Where networks compute: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    threads : int or None
        CPU threads of a prediction or training; None takes what the machine grants.
    run : str
        Run folder that the Predict widget begins with; empty for the last one.
    """

    device: str = "auto"
    threads: int | None = None
    run: str = ""

    @classmethod
    def read(cls) -> PluginSettings:
        """Return what is set now."""
        from napari.settings import get_plugin_settings

        stored: Any = get_plugin_settings(PLUGIN)
        computing, predicting = stored.computing, stored.predict
        return cls(str(computing.device), int(computing.threads) or None, str(predicting.run))

    def options(self) -> list[str]:
        """Return the options of `beadseg-batch train` and `predict` that say the same."""
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        return ["--device", self.device, *threads]

    def changed(self) -> tuple[str, ...]:
        """Return those of `options` that are not the command's own."""
        device = [] if self.device == PluginSettings.device else ["--device", self.device]
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        return (*device, *threads)
