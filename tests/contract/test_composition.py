"""Networks compose: kernels into kernels, lists into lists, a user's own layers anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import Kernel
from ntkjax.stax import (
    AvgPool,
    Conv,
    Dense,
    Erf,
    FanInSum,
    FanOut,
    Flatten,
    GlobalAvgPool,
    Identity,
    LayerNorm,
    Relu,
    parallel,
    repeat,
    serial,
)
from tests.helpers import fast_jit

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(3, 4)), RNG.normal(size=(2, 4))
IMAGES1, IMAGES2 = RNG.normal(size=(2, 4, 3, 2)), RNG.normal(size=(3, 4, 3, 2))


def same(actual, wanted, tolerance=1e-9):
    """Kernels, or lists of them, with the same arrays and the same static fields."""
    actual, wanted = (
        jax.tree.leaves(value, is_leaf=lambda k: isinstance(k, Kernel))
        for value in (actual, wanted)
    )
    for one, other in zip(actual, wanted, strict=True):
        assert (one.shape1, one.shape2) == (other.shape1, other.shape2)
        assert one.is_gaussian == other.is_gaussian
        for name in ("nngp", "ntk", "cov1", "cov2"):
            first, second = getattr(one, name), getattr(other, name)
            assert (first is None) == (second is None)
            if first is not None:
                np.testing.assert_allclose(first, second, rtol=tolerance, atol=tolerance)


def conv(taps=(2, 2), padding="SAME"):
    return Conv(1, taps, padding=padding, W_std=1.3, b_std=0.2)


SPLITS = {
    "points": ([Dense(1, 1.3, 0.2), Relu(), Dense(1), Erf(), Dense(1)], X1, X2),
    "images": ([conv(), Relu(), AvgPool((2, 2)), conv(), Erf(), GlobalAvgPool()], IMAGES1, IMAGES2),
    "image to points": ([conv(), Relu(), Flatten(), Dense(1), Relu()], IMAGES1, IMAGES2),
}


@pytest.mark.parametrize("symmetric", [False, True], ids=["two batches", "one batch"])
@pytest.mark.parametrize("name", list(SPLITS))
def test_a_kernel_goes_on_in_another_network(name, symmetric):
    layers, x1, x2 = SPLITS[name]
    x2 = None if symmetric else x2
    cut = len(layers) // 2
    first, second = serial(*layers[:cut]).kernel_fn, serial(*layers[cut:]).kernel_fn
    halves, whole = fast_jit(
        lambda x1, x2: (second(first(x1, x2)), serial(*layers).kernel_fn(x1, x2))
    )(x1, x2)
    same(halves, whole)


def test_a_kernel_goes_on_outside_of_jit():
    kernel = Dense(1, 1.3).kernel_fn(X1, X2)
    whole = serial(Dense(1, 1.3), Relu()).kernel_fn(X1, X2, "ntk")
    np.testing.assert_allclose(Relu().kernel_fn(kernel, get="ntk"), whole, rtol=1e-12)


def test_nesting_of_serial_changes_nothing():
    flat = serial(Dense(1, 1.3), Relu(), Dense(1), Erf())
    nested = serial(serial(Dense(1, 1.3), serial(Relu())), serial(), serial(Dense(1), Erf()))
    same(nested.kernel_fn(X1, X2), flat.kernel_fn(X1, X2), 1e-14)


def test_repeat_is_serial():
    block = serial(Dense(1, 1.3, 0.1), Relu())
    same(repeat(block, 3).kernel_fn(X1, X2), serial(*[block] * 3).kernel_fn(X1, X2), 1e-14)
    _, params = repeat(block, 3).init_fn(jax.random.key(0), (2, 1))
    weights, _ = params[0]
    assert weights.shape == (3, 1, 1)
    assert not np.allclose(weights[1], weights[2]), "each copy has weights of its own"


def test_lists_at_both_ends_at_any_depth():
    network = parallel(
        serial(Dense(1, 1.3), Relu()),
        parallel(serial(conv(), Flatten()), parallel(Dense(1), serial(FanOut(2), FanInOfTwo()))),
    )
    inputs1 = [X1[:2], [IMAGES1, [X1[:2], X1[1:]]]]
    inputs2 = [X2, [IMAGES2[:2], [X2, X2]]]
    kernels = network.kernel_fn(inputs1, inputs2)
    wanted = [
        serial(Dense(1, 1.3), Relu()).kernel_fn(X1[:2], X2),
        [
            serial(conv(), Flatten()).kernel_fn(IMAGES1, IMAGES2[:2]),
            [
                Dense(1).kernel_fn(X1[:2], X2),
                serial(FanOut(2), FanInOfTwo()).kernel_fn(X1[1:], X2),
            ],
        ],
    ]
    assert jax.tree.structure(kernels) == jax.tree.structure(wanted)
    same(kernels, wanted)
    # The kernels go on in a network with as many inputs, and `get` answers in the same lists.
    again = parallel(Dense(1), parallel(Dense(1), parallel(Relu(), Dense(1))))
    ntks = again.kernel_fn(kernels, get="ntk")
    np.testing.assert_allclose(ntks[1][0], Dense(1).kernel_fn(kernels[1][0], get="ntk"))
    np.testing.assert_allclose(ntks[1][1][0], Relu().kernel_fn(kernels[1][1][0], get="ntk"))


def FanInOfTwo():
    return serial(parallel(Dense(1, 1.1), Dense(1, 0.7)), FanInSum())


def test_independent_inputs_add():
    network = serial(parallel(Dense(1, 1.3), Dense(1, 0.4, 0.2)), FanInSum())
    both = network.kernel_fn([X1, 2 * X1], [X2, X2])
    one, two = Dense(1, 1.3).kernel_fn(X1, X2), Dense(1, 0.4, 0.2).kernel_fn(2 * X1, X2)
    np.testing.assert_allclose(both.nngp, one.nngp + two.nngp, rtol=1e-12)
    np.testing.assert_allclose(both.ntk, one.ntk + two.ntk, rtol=1e-12)


# ---- a user's own layers


def layer_of(kernel_fn):
    return (lambda rng, shape: (shape, ()), lambda params, x, **kwargs: x, kernel_fn)


def my_relu(kernel):
    """A user's Relu, by covariances, on points or positions."""
    ndim = (kernel.nngp.ndim - 2) // 2

    def variances(cov):
        for _ in range(ndim):
            cov = jnp.moveaxis(jnp.diagonal(cov, axis1=1, axis2=2), -1, cov.ndim - 2)
        return cov

    v1 = variances(kernel.cov1)
    v2 = v1 if kernel.cov2 is None else variances(kernel.cov2)

    def dual(rows, cov, columns):
        product = jnp.sqrt(rows * columns)
        theta = jnp.arccos(jnp.clip(cov / product, -1, 1))
        value = product * (jnp.sin(theta) + (np.pi - theta) * jnp.cos(theta)) / (2 * np.pi)
        return value, (np.pi - theta) / (2 * np.pi)

    def spread(v, side):
        """Variances at every other axis of the interleaved positions."""
        for axis in range(ndim):
            v = jnp.expand_dims(v, 1 + 2 * axis + (1 - side))
        return v

    def own(cov, v):
        return dual(spread(v, 0), cov, spread(v, 1))[0]

    nngp, slope = dual(spread(v1, 0)[:, None], kernel.nngp, spread(v2, 1)[None])
    return kernel.replace(
        nngp=nngp,
        ntk=None if kernel.ntk is None else kernel.ntk * slope,
        cov1=own(kernel.cov1, v1),
        cov2=None if kernel.cov2 is None else own(kernel.cov2, v2),
        is_gaussian=False,
    )


def my_dense(kernel):
    """A user's Dense(W_std=1.3, b_std=0.2), in the NTK parameterization."""

    def affine(cov):
        return None if cov is None else 1.69 * cov + 0.04

    ntk = None if kernel.ntk is None else 1.69 * kernel.ntk + affine(kernel.nngp)
    covs = {name: affine(getattr(kernel, name)) for name in ("nngp", "cov1", "cov2")}
    return kernel.replace(ntk=ntk, is_gaussian=True, **covs)


MY_RELU, MY_DENSE = layer_of(my_relu), layer_of(my_dense)
DENSE = Dense(4, 1.3, 0.2)

PLACES = {
    "in the middle": ([DENSE, MY_RELU, DENSE], [DENSE, Relu(), DENSE], X1, X2),
    "first": ([MY_DENSE, Relu(), DENSE], [DENSE, Relu(), DENSE], X1, X2),
    "last": ([DENSE, Relu(), MY_DENSE], [DENSE, Relu(), DENSE], X1, X2),
    "in a row": ([DENSE, MY_RELU, MY_DENSE, MY_RELU], [DENSE, Relu(), DENSE, Relu()], X1, X2),
    "in a branch": (
        [DENSE, FanOut(2), parallel(serial(MY_RELU, DENSE), Identity()), FanInSum(), Relu()],
        [DENSE, FanOut(2), parallel(serial(Relu(), DENSE), Identity()), FanInSum(), Relu()],
        X1,
        X2,
    ),
    "between convolutions": (
        [conv(), MY_RELU, conv(), Relu(), GlobalAvgPool()],
        [conv(), Relu(), conv(), Relu(), GlobalAvgPool()],
        IMAGES1,
        IMAGES2,
    ),
    "on positions, under a strided stack": (
        [Conv(1, (2, 3), (2, 1)), MY_RELU, MY_DENSE, Relu(), Flatten()],
        [Conv(1, (2, 3), (2, 1)), Relu(), DENSE, Relu(), Flatten()],
        IMAGES1,
        IMAGES2,
    ),
    "under LayerNorm": ([MY_DENSE, LayerNorm()], [DENSE, LayerNorm()], X1, X2),
}


@pytest.mark.parametrize("place", list(PLACES))
def test_a_users_layer_at_any_place(place):
    mine, ours, x1, x2 = PLACES[place]
    # One batch or two, in turn.
    x2 = None if list(PLACES).index(place) % 2 else x2
    mine, ours = (fast_jit(serial(*layers).kernel_fn)(x1, x2) for layers in (mine, ours))
    for name in ("nngp", "ntk", "cov1"):
        # Covariances lose digits of equal points, which distances keep.
        np.testing.assert_allclose(getattr(mine, name), getattr(ours, name), rtol=1e-6, atol=1e-7)


def test_a_users_layer_has_a_finite_network():
    network = serial(Dense(4), MY_RELU, Dense(2))
    shape, params = network.init_fn(jax.random.key(0), X1.shape)
    assert network.apply_fn(params, X1).shape == shape == (3, 2)
