"""The memory that a plan forecasts, beside what XLA says of the program of one tile."""

import jax
import numpy as np
import pytest

import ntkjax
from ntkjax._kernel import config
from ntkjax._kernel.engine import execute
from ntkjax._kernel.plan import resources
from ntkjax.stax import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Relu, serial

IMAGES = 600
#: A forecast is never below what the program takes (a third of it, for a kernel of all positions,
#: would be), and so many times above it at most: with the budget, in tiles of a few images.
BUDGETS = {"small": 2**24, "large": 2**31}
FACTORS = {"small": 8, "large": 20}


def block():
    return serial(Conv(1, (3, 3), padding="SAME", W_std=1.4, b_std=0.1), Relu())


NETWORKS = {
    "fully connected": (serial(*[Dense(1, 1.4, 0.1), Relu()] * 3, Dense(1)), (20,)),
    "global pool": (serial(block(), block(), GlobalAvgPool(), Dense(1)), (32, 32, 3)),
    "pool between": (
        serial(block(), AvgPool((2, 2), (2, 2)), block(), GlobalAvgPool(), Dense(1)),
        (32, 32, 3),
    ),
    "flatten": (serial(block(), block(), Flatten(), Dense(1)), (32, 32, 3)),
    "all positions": (serial(block(), block()), (6, 6, 3)),
}


@pytest.fixture
def one_core(monkeypatch):
    """One core makes one tile after the other, so that no tile is smaller for being shared."""
    monkeypatch.setattr(resources, "cores", lambda: 1)
    monkeypatch.setattr(config, "cores", lambda: 1)
    execute._tiling.cache_clear()
    yield
    execute._tiling.cache_clear()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="measured on CPU alone")
@pytest.mark.parametrize("budget", list(BUDGETS))
@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_forecast_is_what_xla_says_of_one_tile(one_core, name, budget):
    network, shape = NETWORKS[name]
    kernel_fn, counts = network.kernel_fn, (IMAGES, IMAGES)
    with ntkjax.config.set(memory_budget=BUDGETS[budget]):
        while True:
            shapes = [(count, *shape) for count in counts]
            forecast = kernel_fn.plan(*shapes, "ntk", dtype=np.float32)
            if forecast.tiles == 1:
                break
            counts = forecast.tile
        assert forecast.bytes <= BUDGETS[budget]
        images = (jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes)
        program = jax.jit(lambda x1, x2: kernel_fn(x1, x2, "ntk")).lower(*images).compile()
    memory = program.memory_analysis()
    taken = memory.temp_size_in_bytes + memory.output_size_in_bytes
    assert taken <= forecast.bytes <= FACTORS[budget] * taken
