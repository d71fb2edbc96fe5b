"""Keywords of `kernel_fn` that bring arrays of images, to an operation that takes one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax._kernel.algebra.image import Image, on_positions
from ntkjax._kernel.algebra.operation import RowOperation, operation
from ntkjax._kernel.algebra.pairs import Pairs
from ntkjax._layers.layer import make_layer
from ntkjax.stax import Dense, FanInSum, Identity, Relu, parallel, serial

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3))
S1, S2 = RNG.uniform(1, 2, 5), RNG.uniform(1, 2, 4)


@operation
class Stretch(RowOperation):
    """Multiply every image by a number of its own, which the call brings as `size`."""

    keywords = ("size",)

    def infer(self, signals, source):
        return signals[0]

    def of_image(self, images, context):
        (image,) = images
        ndim = context.step.below.ndim + 1
        return Image(image.scale * image.data["size"], image.variance, image.data), on_positions(
            image.data["size"], ndim
        )

    def pair(self, pairs, seen, step):
        return Pairs(pairs[0].moment, pairs[0].ntk)


def Stretched():
    return make_layer(
        "Stretched", "", (Stretch(),), lambda rng, shape: (shape, ()), lambda params, x, **_: x
    )


NETWORK = serial(Dense(4, 1.5), Stretched(), Relu(), Dense(1))
PLAIN = serial(Dense(4, 1.5), Relu(), Dense(1))


def expected(one, two, x1=X1, x2=X2):
    return np.outer(one, two) * PLAIN.kernel_fn(x1, x2, "ntk")


def test_two_values_are_those_of_the_batches():
    for program in (NETWORK.kernel_fn, jax.jit(NETWORK.kernel_fn, static_argnums=2)):
        ntk = program(X1, X2, "ntk", size=(S1, S2))
        np.testing.assert_allclose(ntk, expected(S1, S2), rtol=1e-12)


def test_one_value_is_that_of_both():
    ntk = NETWORK.kernel_fn(X1, -X1, "ntk", size=S1)
    np.testing.assert_allclose(ntk, expected(S1, S1, X1, -X1), rtol=1e-12)


@pytest.mark.parametrize("size", [S1, (S1, None), (S1, S1), (S1, S1.copy())])
def test_one_batch(size):
    kernel = NETWORK.kernel_fn(X1, None, size=size)
    np.testing.assert_allclose(kernel.ntk, expected(S1, S1, X1, X1), rtol=1e-12, atol=1e-12)
    assert kernel.cov2 is None


def test_one_batch_of_two_values_is_two_batches():
    kernel = NETWORK.kernel_fn(X1, None, size=(S1, 2 * S1))
    np.testing.assert_allclose(kernel.ntk, 2 * expected(S1, S1, X1, X1), rtol=1e-12, atol=1e-12)
    assert kernel.cov2 is not None


@pytest.mark.parametrize("x2", [X2, None])
def test_it_is_cut_with_the_tiles(x2):
    size = S1 if x2 is None else (S1, S2)
    whole = NETWORK.kernel_fn(X1, x2, "ntk", size=size)
    shapes = (5, 3), None if x2 is None else (4, 3)
    shape = (5,) if x2 is None else ((5,), (4,))
    with ntkjax.config.set(memory_budget=1000):
        assert NETWORK.kernel_fn.plan(*shapes, size=shape).tiles > 1
        tiled = NETWORK.kernel_fn(X1, x2, "ntk", size=size)
    np.testing.assert_allclose(tiled, whole, rtol=1e-12)


def test_all_inputs_have_it_and_it_is_of_their_dtype():
    network = serial(parallel(NETWORK, PLAIN), FanInSum())
    x = X1.astype(np.float32), X2.astype(np.float32)
    with ntkjax.config.set(dtype="inputs"):
        nngp = network.kernel_fn([x[0]] * 2, [x[1]] * 2, "nngp", size=(S1, S2))
        wanted = np.asarray(PLAIN.kernel_fn(*x, "nngp"))
    assert nngp.dtype == jnp.float32
    np.testing.assert_allclose(nngp, wanted * (1 + np.outer(S1, S2)), rtol=1e-5)


def test_a_kernel_takes_it_too():
    of_kernel = NETWORK.kernel_fn(Identity().kernel_fn(X1), size=S1)
    of_array = NETWORK.kernel_fn(X1, size=S1)
    np.testing.assert_allclose(of_kernel.nngp, of_array.nngp, rtol=1e-10)
    np.testing.assert_allclose(of_kernel.ntk, of_array.ntk, rtol=1e-10)


def test_gradients():
    def value(size):
        return jnp.sum(NETWORK.kernel_fn(X1, X2, "ntk", size=(size, S2)))

    one, two = jax.grad(value)(jnp.asarray(S1)), expected(np.ones(5), S2).sum(1)
    np.testing.assert_allclose(one, two, rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: NETWORK.kernel_fn(X1, length=S1), TypeError, ["'length'", "pattern", "size"]),
        (lambda: PLAIN.kernel_fn(X1, size=S1), TypeError, ["'size'", "it takes x1, x2, get"]),
        (
            lambda: NETWORK.kernel_fn(X1, X2, size=S1),
            ValueError,
            ["size has shape (5,)", "x2 holds 4", "(for x1, for x2)"],
        ),
        (lambda: NETWORK.kernel_fn(X1, X2, size=(None, S2)), ValueError, ["no value for x1"]),
        (lambda: NETWORK.kernel_fn(X1, size="large"), TypeError, ["size has dtype", "real"]),
        (lambda: NETWORK.kernel_fn(X1, size=S1 * np.nan), ValueError, ["size must be finite"]),
    ],
)
def test_errors(call, kind, words):
    with pytest.raises(kind) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value
