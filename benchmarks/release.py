"""What a release consists of: a wheel and a source archive of the same bytes each time, and the licences it needs.

python benchmarks/release.py build dist        # builds twice and compares
python benchmarks/release.py licences dist     # licences.csv of what `pip install beadseg` installs
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parents[1]
EPOCH = "1764547200"
"""Time of every file in an archive where no other is given (SOURCE_DATE_EPOCH): 2025-12-01."""


def main() -> int:
    what, out = sys.argv[1], Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    return build(out) if what == "build" else licences(out)


def build(out: Path) -> int:
    """Build in two copies of the project, with other file modes and times; return 1 where the archives differ."""
    with tempfile.TemporaryDirectory() as scratch:
        hashes = [_built(Path(scratch) / name, mask) for name, mask in (("one", 0o022), ("two", 0o077))]
        for path in (Path(scratch) / "one" / "dist").iterdir():
            shutil.copy2(path, out)
    for name, digest in sorted(hashes[0].items()):
        print(f"{digest}  {name}: {'the same bytes twice' if hashes[1].get(name) == digest else 'DIFFERENT'}")
    return int(hashes[0] != hashes[1])


def _built(copy: Path, mask: int) -> dict[str, str]:
    kept = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    before = os.umask(mask)
    try:
        for name in kept.stdout.splitlines():
            if (ROOT / name).is_file() and not name.startswith("dist/"):
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                (copy / name).write_bytes((ROOT / name).read_bytes())
    finally:
        os.umask(before)
    environment = {"SOURCE_DATE_EPOCH": EPOCH, **os.environ}
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", copy / "dist", copy],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (copy / "dist").iterdir()}


def licences(out: Path) -> int:
    """Write name, version and licence of everything that beadseg needs, itself first."""
    rows = [(found.metadata["Name"], found.version, _licence(found)) for found in _needed("beadseg", {}).values()]
    with (out / "licences.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("name", "version", "licence"))
        table.writerows(rows)
    unknown = [name for name, _, licence in rows if not licence]
    print(f"{len(rows)} packages in {out / 'licences.csv'}; without a stated licence: {', '.join(unknown) or 'none'}")
    return 0


def _needed(name: str, known: dict[str, Distribution]) -> dict[str, Distribution]:
    """Return a package and all that it needs without extras, as they are installed here."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key not in known:
        try:
            known[key] = distribution(name)
        except PackageNotFoundError:  # for another system, or another Python
            return known
        for line in known[key].requires or ():
            if "extra ==" not in line:
                match = re.match(r"[A-Za-z0-9._-]+", line)
                if match:
                    _needed(match[0], known)
    return known


def _licence(found: Distribution) -> str:
    about = found.metadata
    classifiers = [line.split("::")[-1].strip() for line in about.get_all("Classifier") or () if "License ::" in line]
    said = about.get("License-Expression") or "; ".join(classifiers) or (about.get("License") or "").strip()
    return said.splitlines()[0][:80] if said else ""


if __name__ == "__main__":
    sys.exit(main())
