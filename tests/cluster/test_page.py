"""The page for newcomers, followed word by word on the fake batch system; on a real one jobs have their user's home."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_helpers import SOURCE, FakePbs

from beadseg.config.site import SiteConfig

HPC = Path(__file__).parents[2] / "hpc"
PAGE = (HPC / "README.md").read_text(encoding="utf-8")


def steps() -> list[str]:
    """Return the page's blocks of commands, the installation left out."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert "pip install" in blocks[0]
    return blocks[1:]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_page_leads_to_counts(pbs: FakePbs, place: Path):
    (place / "beadseg-source").symlink_to(HPC.parent)
    program = place / "beadseg" / "bin" / "beadseg-batch"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{SOURCE}" exec "{sys.executable}" -m beadseg "$@"\n')
    program.chmod(0o755)
    activate = program.parent / "activate"
    activate.write_text('export PATH="$(dirname "$(realpath "${BASH_SOURCE[0]}")"):$PATH"\n')
    printed = ""
    for step in steps():
        script = f'export HOME="$1"; cd ~; source ~/beadseg/bin/activate\nset -ex\n{step}'
        done = subprocess.run(
            ["bash", "-c", script, "bash", str(place)], capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, f"{step}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    assert "Nothing must be fixed." in printed
    assert f"Finished. Results: {place}/try/run" in printed
    assert (place / "try" / "counts" / "counts.csv").read_text().count("\n") == 9
    assert f"Results: {place}/try/counts" in printed
    assert "Images: 8 of 8 done, 0 of them failed." in printed
    alone, shared = (place / "try" / name / "counts.csv" for name in ("counts", "shared"))
    assert shared.read_bytes() == alone.read_bytes()


def test_every_file_is_named_and_every_profile_is_valid():
    names = {path.name for path in HPC.iterdir()} - {"README.md"}
    assert {name for name in names if f"`{name}`" in PAGE} == names
    for path in HPC.glob("*.yaml"):
        SiteConfig.from_file(path)


def test_the_recipe_copies_what_is_there():
    recipe = (HPC / "beadseg.def").read_text(encoding="utf-8")
    copied = re.findall(r"^    (\S+) /opt/beadseg/\S+$", recipe, re.MULTILINE)
    assert copied
    assert all((HPC.parent / name).exists() for name in copied)
