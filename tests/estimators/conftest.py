"""A cache of its own for each test, and kernel functions that compile fast."""

import pytest

from ntkjax.sklearn import kernel_cache
from tests.helpers import programs_compile_fast  # noqa: F401


@pytest.fixture(autouse=True)
def empty_cache():
    kernel_cache.clear()
    yield
    kernel_cache.max_bytes = None
    kernel_cache.clear()
