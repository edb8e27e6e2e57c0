"""A viewer that is killed leaves no process behind that works for nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(300)]
pytest.importorskip("napari")

PATIENCE_S = 60
TILES = 20_000
"""More than are written before the viewer is killed."""
PROGRAM = """
import sys
from pathlib import Path
from beadseg.events import StopFlag
from beadseg.runtime.process import run_command
run_command(sys.argv[2:], Path(sys.argv[1]), lambda event: print(event.kind, flush=True), StopFlag())
"""


def test_a_command_stops_when_who_started_it_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "events"
    words = ["simulate", str(tmp_path / "beads"), "--tiles", str(TILES), "--size", "96"]
    viewer = subprocess.Popen([sys.executable, "-c", PROGRAM, str(log), *words], stdout=subprocess.PIPE, text=True)
    assert viewer.stdout is not None
    while "progress" not in viewer.stdout.readline():
        assert viewer.poll() is None
    (child,) = psutil.Process(viewer.pid).children()
    viewer.kill()
    viewer.communicate()
    child.wait(PATIENCE_S)
    assert len(list(tmp_path.rglob("*.png"))) < TILES
    assert "Stopped on request" in log.read_text().splitlines()[-1]
