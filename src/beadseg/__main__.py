"""`python -m beadseg` is `beadseg-batch`."""

from __future__ import annotations

import sys

from beadseg.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
