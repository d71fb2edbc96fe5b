"""What tests of the engine have in common."""

import pytest

from ntkjax._kernel import config
from ntkjax._kernel.engine import execute
from ntkjax._kernel.plan import forecast, resources


@pytest.fixture
def three_cores(monkeypatch):
    """A CPU of three cores, which share whatever work there is."""
    monkeypatch.setattr(resources, "cores", lambda: 3)
    monkeypatch.setattr(config, "cores", lambda: 3)
    monkeypatch.setattr(forecast, "_WORTHWHILE", 0)
    execute._tiling.cache_clear()
    yield
    execute._tiling.cache_clear()
