"""Settings of all tests."""

from __future__ import annotations

import hypothesis

# A busy machine is no fault of an example.
hypothesis.settings.register_profile("pysaslauthd", deadline=None)
hypothesis.settings.load_profile("pysaslauthd")
