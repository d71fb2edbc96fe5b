"""A cache of its own for each test."""

import pytest

from ntkjax.sklearn import kernel_cache


@pytest.fixture(autouse=True)
def empty_cache():
    kernel_cache.clear()
    yield
    kernel_cache.max_bytes = None
    kernel_cache.clear()
