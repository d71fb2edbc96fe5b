"""Numbers of a layer may be traced; what decides the architecture may not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax.stax import Conv, Dense, GlobalAvgPool, LayerNorm, serial
from tests.helpers import fast_jit

X = np.random.default_rng(0).normal(size=(2, 3))
IMAGES = np.random.default_rng(0).normal(size=(2, 3, 3, 1))


def between(make):
    """A network with a layer in the middle."""
    return lambda *numbers: serial(Dense(2, 1.3, 0.2), make(*numbers), Dense(1))


def dense(w_std, b_std):
    return serial(Dense(2, w_std, b_std), stax.Relu(), Dense(1))


def standard(w_std, b_std):
    return serial(Dense(2, w_std, b_std, parameterization="standard"), stax.Relu(), Dense(1))


def conv(w_std, b_std):
    return serial(Conv(2, (2, 2), W_std=w_std, b_std=b_std), stax.Relu(), GlobalAvgPool())


#: A network of numbers, these numbers, and its inputs.
NETWORKS = {
    "Dense": (dense, (1.3, 0.4), X),
    "Dense, standard": (standard, (1.3, 0.4), X),
    "Conv": (conv, (1.3, 0.4), IMAGES),
    "LeakyRelu": (between(stax.LeakyRelu), (0.3,), X),
    "ABRelu": (between(stax.ABRelu), (-0.3, 1.2), X),
    "Erf": (between(stax.Erf), (1.0, 1.0, 0.0), X),
    "LayerNorm": (between(lambda eps: LayerNorm(eps=eps)), (0.1,), X),
}
REQUESTS = jax.random.key(0)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_numbers_may_be_traced(name):
    make, numbers, x = NETWORKS[name]

    def kernel(*traced):
        return make(*traced).kernel_fn(x, None, "ntk")

    def outputs(*traced):
        init_fn, apply_fn, _ = make(*traced)
        return apply_fn(init_fn(REQUESTS, x.shape)[1], x)

    for fn in (kernel, outputs):
        exact = fn(*numbers)
        np.testing.assert_allclose(fast_jit(fn)(*numbers), exact, rtol=1e-12)
        stacked = [np.array([number, number]) for number in numbers]
        for one in jax.vmap(fn)(*stacked):
            np.testing.assert_allclose(one, exact, rtol=1e-12)
        gradients = jax.grad(lambda *n, fn=fn: fn(*n).sum(), range(len(numbers)))(*numbers)
        step = 1e-6
        for i, gradient in enumerate(gradients):
            ahead, behind = (
                fn(*(n + sign * step * (i == k) for k, n in enumerate(numbers))).sum()
                for sign in (1, -1)
            )
            np.testing.assert_allclose(gradient, (ahead - behind) / (2 * step), 1e-6, 1e-8)


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("held", [np.float32, np.array, jnp.array, lambda n: jnp.array(n, "f4")])
def test_numbers_may_be_scalars_of_any_array(name, held):
    make, numbers, x = NETWORKS[name]
    network, plain = make(*map(held, numbers)), make(*numbers)
    kernel = network.kernel_fn(x, None, "ntk")
    assert kernel.dtype == np.float64
    np.testing.assert_allclose(kernel, plain.kernel_fn(x, None, "ntk"), rtol=1e-6)
    assert repr(network) == repr(plain)


def test_integers_may_be_traced():
    kernel = jax.jit(lambda n: dense(n, n).kernel_fn(X, None, "ntk"))(2)
    np.testing.assert_allclose(kernel, dense(2.0, 2.0).kernel_fn(X, None, "ntk"), rtol=1e-12)


#: A layer of a traced value, and what its error must name.
ARCHITECTURE = {
    "out_dim": Dense,
    "out_chan": lambda n: Conv(n, (3,)),
    "filter_shape": lambda n: Conv(1, (n, 3)),
    "strides": lambda n: Conv(1, (3,), (n,)),
    "channel_axis": lambda n: Dense(1, channel_axis=n),
    "axis": LayerNorm,
    "batch_axis_out": lambda n: stax.Flatten(batch_axis_out=n),
    "window_shape": lambda n: stax.AvgPool(n[None]),
    "normalize_edges": lambda n: stax.AvgPool((2,), normalize_edges=n > 0),
    "approximate": lambda n: stax.Gelu(n > 0),
    "num": stax.FanOut,
    "n": lambda n: stax.repeat(Dense(1), n),
}


@pytest.mark.parametrize("argument", list(ARCHITECTURE))
def test_the_architecture_may_not_be_traced(argument):
    def traced(n):
        ARCHITECTURE[argument](n)
        return n

    with pytest.raises(TypeError, match=rf": {argument}.* is traced, .*mark it static"):
        jax.jit(traced)(1)


#: Arguments that are none, and what the error says.
WRONG = {
    "list for a number": (lambda: Dense(1, [1.5]), "Dense: W_std=\\[1.5\\], expected a real"),
    "vector for a number": (lambda: stax.Erf(np.ones(3)), r"Erf: a has shape \(3,\)"),
    "complex array": (lambda: Dense(1, jnp.array(1j)), "W_std has dtype complex"),
    "infinite array": (lambda: Dense(1, jnp.array(np.inf)), "expected a finite real number"),
    "huge integer": (lambda: Dense(1, 10**400), "expected a finite real number"),
    "key for a number": (lambda: Dense(1, jax.random.key(0)), "W_std has dtype key<"),
    "float for an axis": (lambda: Dense(1, channel_axis=1.0), "channel_axis=1.0, expected the nu"),
    "letter for an axis": (lambda: LayerNorm("C"), "LayerNorm: axis='C', expected the number"),
    "axis of a pool": (lambda: GlobalAvgPool(channel_axis=None), "channel_axis=None, expected"),
    "number for a flag": (lambda: stax.Gelu("yes"), "Gelu: approximate='yes', expected True or"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_argument_is_named(name):
    call, phrase = WRONG[name]
    with pytest.raises((TypeError, ValueError), match=phrase):
        call()
