"""How long Hypothesis searches: short and always the same by default, long and at random by `make test-long`."""

from __future__ import annotations

import os

import hypothesis

SHORT = "short"
ALL_CHECKS = list(hypothesis.HealthCheck)
hypothesis.settings.register_profile(
    SHORT, max_examples=60, stateful_step_count=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=ALL_CHECKS,
)  # fmt: skip
hypothesis.settings.register_profile(
    "long", max_examples=1000, stateful_step_count=40, deadline=None, print_blob=True, suppress_health_check=ALL_CHECKS
)
hypothesis.settings.load_profile(os.environ.get("BEADSEG_HYPOTHESIS", SHORT))
