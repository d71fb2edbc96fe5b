"""Images that are alike in size are held at scale 1, and lose nothing by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax._kernel.arguments import inputs_of_call
from ntkjax._kernel.config import config
from ntkjax._kernel.engine import execute
from ntkjax._kernel.plan import forecast
from ntkjax._kernel.plan.plan import Request
from tests.helpers import fast_jit


def conv(**options):
    return stax.Conv(8, (3,), padding="SAME", W_std=1.4, b_std=0.2, **options)


def dense(**options):
    return stax.Dense(8, 1.4, 0.2, **options)


def residual():
    branch = stax.serial(stax.Erf(), dense())
    return stax.FanOut(2), stax.parallel(branch, stax.Identity()), stax.FanInSum()


NETWORKS = {
    "rectifiers": ((4,), [dense(), stax.Relu(), dense(), stax.LeakyRelu(0.3), dense()]),
    "no biases": ((4,), [stax.Dense(8), stax.Gelu(), stax.Dense(8)]),
    "standard": (
        (4,), [dense(parameterization="standard"), stax.Erf(), dense(parameterization="standard")],
    ),
    "convolutions": ((5, 4), [conv(), stax.Relu(), conv(), stax.GlobalAvgPool(), dense()]),
    "LayerNorm": ((5, 4), [conv(), stax.LayerNorm(), stax.Gelu(), stax.Flatten()]),
    "residual": ((4,), [dense(), *residual(), stax.Gelu(), dense()]),
    "no readout": ((5, 4), [conv(), stax.Erf(), conv()]),
}  # fmt: skip


def inputs_of(shape, symmetric):
    rng = np.random.default_rng(0)
    x1, x2 = (rng.normal(size=(n, *shape)).astype(np.float32) for n in (4, 3))
    x2[0], x2[1] = -x1[0], x1[1] * 1.001
    return inputs_of_call(x1, None if symmetric else x2, True)


def made(network, items, structure, is_unscaled):
    request = Request(True, True, False, True, is_unscaled)
    part = stax.serial(*network).kernel_fn.part
    return fast_jit(lambda items: execute._one_program(
        part, items, structure, request, config.resources().alone()
    ))(items)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "symmetric"), [*((n, False) for n in NETWORKS), ("rectifiers", True)]
)
def test_the_kernel_is_the_same(name, symmetric):
    shape, network = NETWORKS[name]
    items, structure = inputs_of(shape, symmetric)
    plain, scaled = (made(network, items, structure, flag) for flag in (True, False))
    for field in ("nngp", "ntk", "cov1", "distance", *[["cov2"], []][symmetric]):
        one, other = (np.asarray(getattr(k, field)) for k in (plain, scaled))
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6 * np.max(np.abs(other)))


def test_supplement_of_opposite_points():
    _, network = NETWORKS["rectifiers"]
    items, structure = inputs_of((4,), False)
    wide = jax.tree.map(lambda a: a.astype(float), items)
    exact = np.asarray(made(network, wide, structure, False).ntk)
    found = np.asarray(made(network, items, structure, True).ntk)
    np.testing.assert_allclose(found, exact, rtol=2e-6)


@pytest.fixture
def asked(monkeypatch):
    """Every call is worthwhile; the answers to whether its images are alike."""
    answers = []
    ask = execute._are_alike

    def noted(part, items, structure, request, nothing):
        answer = ask(part, items, structure, request, nothing)
        jax.debug.callback(lambda value: answers.append(bool(value)), answer)
        return answer

    monkeypatch.setattr(forecast, "_WORTHWHILE", 0)
    monkeypatch.setattr(execute, "_are_alike", noted)
    execute._tiling.cache_clear()
    yield answers
    execute._tiling.cache_clear()


@pytest.mark.parametrize(
    ("sizes", "alike"),
    [
        ((1.0, 1.0), True),
        ((0.5, 1.2), True),
        ((1.0, 4.0), False),
        ((1e4, 1e4), False),
        ((1e-4, 1e-3), True),  # biases outweigh them
        ((0.0, 1.0), False),
    ],
)
def test_which_images_are_alike(asked, sizes, alike):
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (4, 6)).astype(np.float32)
    size = np.repeat(np.float32(sizes), 2)[:, None]
    network = stax.serial(stax.Dense(8, 1.4, 0.1), stax.Erf(), stax.Dense(8, 1.4, 0.1))
    found = network.kernel_fn(size * x, None, "ntk")
    jax.effects_barrier()
    assert asked == [alike]
    wide = network.kernel_fn((size * x).astype(float), None, "ntk")
    of_size = np.sqrt(np.outer(np.diag(wide), np.diag(wide)))
    assert np.max(np.abs(np.asarray(found, float) - np.asarray(wide)) / of_size) < 2e-6


def test_sizes_count_after_every_layer_that_changes_them(asked):
    """Alike at the inputs, and still after Erf; but the weights after it are large."""
    x = np.float32([[1.0, 1.0], [2.5, 2.5]])
    network = stax.serial(stax.Dense(8), stax.Erf(), stax.Dense(8, 1e4), stax.Erf())
    network.kernel_fn(x)
    jax.effects_barrier()
    assert asked == [False]


def test_nothing_is_asked_inside_a_program_of_the_caller(asked):
    network = stax.serial(stax.Dense(8), stax.Relu())
    jax.jit(lambda x: network.kernel_fn(x, None, "ntk"))(jnp.ones((3, 4), jnp.float32))
    jax.effects_barrier()
    assert asked == []
