"""Kernel functions compile fast in these tests: each runs once."""

from tests.helpers import programs_compile_fast  # noqa: F401
