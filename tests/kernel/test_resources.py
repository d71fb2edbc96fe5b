"""Memory, devices and the forecast of a computation: they change how it runs, never its numbers."""

import os
import subprocess
import sys

import jax
import jax.experimental
import numpy as np
import pytest

import ntkjax
from ntkjax._kernel.engine import execute
from ntkjax.stax import AvgPool, Conv, Dense, Flatten, GlobalAvgPool, Relu, serial


def conv():
    return Conv(1, (3, 3), padding="SAME", W_std=1.4, b_std=0.1)


def test_settings_are_checked_and_restored():
    before = ntkjax.config.memory_budget
    with ntkjax.config.set(memory_budget=2**20):
        assert ntkjax.config.budget() == 2**20
    assert ntkjax.config.memory_budget == before
    assert ntkjax.config.budget() > 2**20
    for bad in (0, -1, "much", True):
        with pytest.raises(ValueError, match="memory_budget"):
            ntkjax.config.memory_budget = bad
    with pytest.raises(ValueError, match="devices"):
        ntkjax.config.devices = []
    settings = "there are memory_budget, devices, dtype"
    with pytest.raises(AttributeError, match=settings), ntkjax.config.set(x=1):
        pass


def test_a_plan_counts_diagonals_and_pairs():
    kernel_fn = serial(conv(), Relu(), conv(), Relu(), GlobalAvgPool(), Dense(1)).kernel_fn
    plan = kernel_fn.plan((64, 8, 8, 3), (32, 8, 8, 3), "ntk")
    assert [stage.diagonals for stage in plan.stages] == [64, 1]
    assert plan.stages[0].sizes == (8, 8)
    first, second = plan.tile
    assert plan.pairs == plan.tiles * first * second >= 64 * 32
    assert plan.stages[0].operations > 64 * 64 * 2 * 9
    assert "GlobalAvgPool" in str(plan)
    assert f"{plan.tiles} tiles of {first} x {second}" in str(plan)
    nothing = kernel_fn.plan((64, 8, 8, 3), (32, 8, 8, 3), "nngp")
    assert nothing.operations < plan.operations


def test_a_plan_keeps_to_the_budget():
    kernel_fn = serial(conv(), Relu(), AvgPool((2, 2), (2, 2)), conv(), Relu(), Flatten()).kernel_fn
    shape = (500, 16, 16, 3)
    for budget in (2**24, 2**27, 2**30):
        with ntkjax.config.set(memory_budget=budget):
            assert kernel_fn.plan(shape, shape).bytes <= budget


def test_a_symmetric_plan_makes_each_pair_once():
    kernel_fn = serial(conv(), Relu(), Flatten(), Dense(1)).kernel_fn
    shape = (512, 8, 8, 3)
    both, one = kernel_fn.plan(shape, shape, "ntk"), kernel_fn.plan(shape, None, "ntk")
    assert one.pairs < 0.6 * both.pairs


def test_a_plan_names_a_layer_that_cannot_take_its_input():
    with pytest.raises(ValueError, match="spatial axes"):
        conv().kernel_fn.plan((4, 8, 3))
    with pytest.raises(ValueError, match="shape1"):
        conv().kernel_fn.plan((4,))


ON_TWO_DEVICES = """
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import ntkjax
from ntkjax._kernel.engine import execute
from ntkjax.stax import *
assert len(jax.devices()) == 2
x = np.random.default_rng(0).normal(size=(70, 4, 4, 2))
conv = Conv(1, (3, 3), padding="SAME", W_std=1.4, b_std=0.1)
kernel_fn = serial(conv, Relu(), GlobalAvgPool(), Dense(1)).kernel_fn
for x2 in (None, x[:66]):
    shared = kernel_fn(x, x2, "ntk")
    assert shared.devices() == {jax.devices()[0]}, shared.devices()
    with ntkjax.config.set(devices=jax.devices()[:1]):
        np.testing.assert_allclose(shared, kernel_fn(x, x2, "ntk"), rtol=1e-12)
inside = jax.jit(lambda x: kernel_fn(x, None, "ntk"))(x)
np.testing.assert_allclose(inside, kernel_fn(x, None, "ntk"), rtol=1e-12)
"""


def test_devices_share_the_tiles():
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("symmetric", [False, True])
def test_cores_share_the_tiles(three_cores, symmetric, dtype):
    x = np.random.default_rng(0).normal(size=(29, 4, 4, 2)).astype(dtype)
    x1, x2 = x[:25], None if symmetric else x[25:]
    for pool in (GlobalAvgPool(), AvgPool((2, 2))):
        kernel_fn = serial(conv(), Relu(), conv(), Relu(), pool).kernel_fn
        assert kernel_fn.plan((25, 4, 4, 2), None if symmetric else (4, 4, 4, 2)).workers == 3
        shared, whole = kernel_fn(x1, x2), jax.jit(kernel_fn)(x1, x2)
        for a, b in zip(jax.tree.leaves(shared), jax.tree.leaves(whole), strict=True):
            assert a.dtype == b.dtype
            rtol = 1e-12 if dtype == np.float64 else 2e-6
            # Distances after a pool are what is left of energies, which are near 1.
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(np.max(np.abs(b)), 1.0))


@pytest.mark.parametrize("symmetric", [False, True])
def test_cores_share_the_diagonals(three_cores, symmetric):
    x = np.random.default_rng(0).normal(size=(5, 6, 3, 2))
    x1, x2 = x[:2], None if symmetric else x[2:]
    top = (GlobalAvgPool(), Dense(1, 1.4, 0.1), Relu(), Dense(1))
    kernel_fn = serial(conv(), Relu(), conv(), Relu(), *top).kernel_fn
    plan = kernel_fn.plan(x1.shape, None if symmetric else x2.shape)
    assert plan.tiles % 3 == 0
    assert plan.pairs == (4 if symmetric else 8)  # three second images are filled up to four
    for a, b in zip(
        jax.tree.leaves(kernel_fn(x1, x2)), jax.tree.leaves(jax.jit(kernel_fn)(x1, x2)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_cores_see_settings_of_the_callers_thread(three_cores):
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 2))
    kernel_fn = serial(conv(), Relu(), GlobalAvgPool()).kernel_fn
    exact = kernel_fn(x, None, "ntk")
    # The older name is that of older versions of JAX.
    enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    with enable_x64(not jax.config.jax_enable_x64):
        other = kernel_fn(x.astype(np.float32), None, "ntk")
    assert (exact.dtype, other.dtype) == (np.float64, np.float32)
    np.testing.assert_allclose(other, exact, rtol=1e-5)


def test_an_interrupt_leaves_nothing_behind(three_cores, monkeypatch):
    x = np.random.default_rng(0).normal(size=(9, 4, 4, 2))
    kernel_fn = serial(conv(), Relu(), GlobalAvgPool()).kernel_fn
    whole = kernel_fn(x, None, "ntk")
    begun = []

    def interrupted(*args):
        begun.append(args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(execute, "_with_round", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kernel_fn(x, None, "ntk")
    assert len(begun) == 1
    np.testing.assert_array_equal(kernel_fn(x, None, "ntk"), whole)


def all_pairs():
    """A user's layer that does nothing, for which all pairs of positions are stored."""
    return (lambda rng, shape: (shape, ()), lambda params, x, **_: x, lambda kernel: kernel)


def test_gradients_agree_with_differences_and_with_all_pairs():
    rng = np.random.default_rng(0)
    x1, x2 = rng.normal(size=(2, 3, 4, 2)), rng.normal(size=(3, 3, 4, 2))
    weights = rng.normal(size=(2, 3))

    def total(x1, w_std, b_std, *between):
        def layer():
            return Conv(1, (3, 3), padding="SAME", W_std=w_std, b_std=b_std)

        network = serial(layer(), Relu(), layer(), Relu(), *between, GlobalAvgPool(), Dense(1))
        return (weights * network.kernel_fn(x1, x2, "ntk")).sum()

    point = (x1, 1.4, 0.3)
    gradient = jax.jit(jax.grad(total, (0, 1, 2)))(*point)
    stored = jax.jit(jax.grad(lambda *p: total(*p, all_pairs()), (0, 1, 2)))(*point)
    for a, b in zip(gradient, stored, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
    value = jax.jit(total)
    direction = (rng.normal(size=x1.shape), 0.7, -0.4)
    step = 1e-5
    ahead, behind = (
        value(*(p + sign * step * d for p, d in zip(point, direction, strict=True)))
        for sign in (1, -1)
    )
    along = sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True))
    np.testing.assert_allclose((ahead - behind) / (2 * step), along, rtol=1e-6)


def test_a_constant_inside_a_program_of_the_caller():
    x = np.random.default_rng(0).normal(size=(3, 5))
    kernel_fn = serial(Dense(1), Relu(), Dense(1)).kernel_fn
    inside = jax.jit(lambda a: kernel_fn(a, jax.numpy.asarray(x), "ntk"))(x)
    np.testing.assert_allclose(inside, kernel_fn(x, x, "ntk"), rtol=1e-12)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_constants_inside_transformations(three_cores, transform):
    x = jax.numpy.asarray(np.random.default_rng(0).normal(size=(7, 4, 4, 2)))
    kernel_fn = serial(conv(), Relu(), GlobalAvgPool()).kernel_fn
    total = kernel_fn(x, None, "ntk").sum()
    inside = transform(lambda a: (a * kernel_fn(x, None, "ntk")).sum())
    np.testing.assert_allclose(inside(np.ones(1 if transform is jax.vmap else ())), total)
