"""`Kernel`: the pytree that users see."""

import jax
import numpy as np
import pytest

import ntkjax
from ntkjax.stax import Conv, Dense, Relu, repeat, serial

X = np.array([[1.0, 2.0], [0.5, -1.0]])


def test_replacing_a_covariance_drops_the_distance():
    kernel = serial(Dense(1), Relu()).kernel_fn(X)
    assert kernel.distance is not None
    assert kernel.replace(nngp=2 * kernel.nngp).distance is None
    assert kernel.replace(cov1=2 * kernel.cov1).distance is None
    assert kernel.replace(ntk=2 * kernel.ntk).distance is not None
    assert kernel.replace(nngp=2 * kernel.nngp, distance=2 * kernel.distance).distance is not None
    with pytest.raises(TypeError, match="'foo'"):
        kernel.replace(foo=1)


def test_a_replaced_kernel_gives_what_its_covariances_say():
    """A stale distance would answer for the kernel before the change."""
    kernel = serial(Dense(1), Relu(), Dense(1)).kernel_fn(X)
    scaled = kernel.replace(nngp=4 * kernel.nngp, cov1=4 * kernel.cov1, ntk=4 * kernel.ntk)
    top = serial(Relu(), Dense(1)).kernel_fn
    np.testing.assert_allclose(top(scaled).nngp, 4 * top(kernel).nngp, rtol=1e-7)
    np.testing.assert_allclose(top(scaled).ntk, 4 * top(kernel).ntk, rtol=1e-7)


def test_a_kernel_passed_on_keeps_the_digits_of_near_equal_points():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 50)) + 1e-3 * rng.normal(size=(4, 50))
    x = x.astype(np.float32)
    block = serial(Dense(1, 2**0.5), Relu())
    first, second = block, serial(repeat(block, 5), Dense(1))
    exact = serial(first, second).kernel_fn(x.astype(float), None, "ntk")
    with ntkjax.config.set(dtype="inputs"):
        passed_on = second.kernel_fn(first.kernel_fn(x), get="ntk")
    assert passed_on.dtype == np.float32
    np.testing.assert_allclose(passed_on, exact, rtol=1e-6)


def test_is_a_pytree():
    kernel = Conv(1, (2,)).kernel_fn(np.ones((2, 3, 1)))
    doubled = jax.tree.map(lambda array: array + array, kernel)
    assert doubled.shape1 == kernel.shape1
    np.testing.assert_array_equal(doubled.nngp, 2 * kernel.nngp)
    same = jax.jit(lambda k: k)(kernel)
    assert (same.is_gaussian, same.batch_axis, same.channel_axis) == (True, 0, 2)


def test_get_variants():
    kernel_fn = serial(Dense(1), Relu()).kernel_fn
    kernel = kernel_fn(X, None)
    assert (kernel.is_gaussian, kernel.diagonal_batch, kernel.is_reversed) == (False, True, False)
    pair = kernel_fn(X, None, ("ntk", "nngp"))
    assert pair._fields == ("ntk", "nngp")
    np.testing.assert_allclose(pair.ntk, kernel.ntk, rtol=1e-12)
    np.testing.assert_allclose(pair.nngp, kernel.nngp, rtol=1e-12)
    one = kernel_fn(X, get=("cov1",))
    assert one._fields == ("cov1",)
    np.testing.assert_allclose(one.cov1, kernel.cov1, rtol=1e-12)
    assert kernel_fn(X, None, ["nngp"]).nngp.shape == (2, 2)
    assert kernel_fn(X, None, "shape1") == (2, 1)
    assert kernel_fn(X, None, "cov2") is None
    twice = kernel_fn(X, None, ("nngp", "nngp"))
    np.testing.assert_array_equal(twice[0], twice[1])
