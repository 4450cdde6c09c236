"""`make fuzz SECONDS=600` fuzzes for about that long, at random; `make test` for half a minute at most."""

from __future__ import annotations

import os

import hypothesis

LONG = "FUZZ_SECONDS" in os.environ
SECONDS = float(os.environ.get("FUZZ_SECONDS", "30"))
# About a third of the time, on two cores.
EXAMPLES = round(SECONDS * 5)

hypothesis.settings.register_profile(
    "fuzz",
    derandomize=not LONG,
    max_examples=EXAMPLES,
    deadline=10_000,  # ms: the bound of one example
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
    database=None,
    print_blob=True,
)
