"""What only `make chaos` runs."""

import os

import pytest

whole = pytest.mark.skipif("CHAOS" not in os.environ, reason="many minutes long; `make chaos` runs it")
