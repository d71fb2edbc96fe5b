"""What tests of the engine have in common."""

import pytest

from ntkjax._kernel import config, execute, forecast


@pytest.fixture
def three_cores(monkeypatch):
    """A CPU of three cores, which share whatever work there is."""
    monkeypatch.setattr(config, "cores", lambda: 3)
    monkeypatch.setattr(forecast, "_WORTH_SHARING", 0)
    execute._tiling.cache_clear()
    yield
    execute._tiling.cache_clear()
