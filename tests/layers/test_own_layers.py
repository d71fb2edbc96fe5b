"""Layers of one's own: maps of positions and of kernels, and the decorators of neural-tangents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax.stax import (
    Conv,
    Dense,
    FanInSum,
    FanOut,
    GlobalAvgPool,
    KernelMap,
    LayerNorm,
    PositionMap,
    Relu,
    layer,
    parallel,
    requires,
    serial,
    supports_masking,
)
from tests.helpers import fast_jit

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(3, 4, 4, 2)), RNG.normal(size=(2, 4, 4, 2))
BELOW = serial(Conv(1, (3, 1), padding="SAME", W_std=1.3, b_std=0.1), Relu())
FIELDS = ("nngp", "ntk", "cov1", "cov2")


def rotations(x):
    """The mean over the four rotations of an image."""
    return 0.25 * sum(jnp.rot90(x, k, (1, 2)) for k in range(4))


def test_map_of_positions_acts_on_both_sides():
    kernel_fn = serial(BELOW, PositionMap(rotations)).kernel_fn
    below, kernel = fast_jit(lambda a, b: (BELOW.kernel_fn(a, b), kernel_fn(a, b)))(X1, X2)
    turned = []
    for name in ("nngp", "ntk"):
        first = np.moveaxis(getattr(below, name), (2, 4, 3, 5), (2, 3, 4, 5))  # h, w, h', w'
        mean = 0.25 * sum(np.rot90(first, k, (2, 3)) for k in range(4))
        mean = 0.25 * sum(np.rot90(mean, k, (4, 5)) for k in range(4))
        turned.append(np.moveaxis(mean, (2, 3, 4, 5), (2, 4, 3, 5)))
    np.testing.assert_allclose(kernel.nngp, turned[0], atol=1e-12)
    np.testing.assert_allclose(kernel.ntk, turned[1], atol=1e-12)


def test_turned_images_are_the_same_image():
    network = serial(PositionMap(rotations), Conv(1, (1, 1)), Relu(), GlobalAvgPool(), Dense(1))
    one, turned = (
        fast_jit(lambda a, b: network.kernel_fn(a, b, "ntk"))(X1, x)
        for x in (X1, np.rot90(X1, 1, (1, 2)))
    )
    np.testing.assert_allclose(one, turned, rtol=1e-8)


def test_positions_may_change():
    pooled = PositionMap(lambda x: jnp.mean(x, 2))
    network = serial(Dense(1, 1.3), pooled)
    made, _ = network.init_fn(jax.random.key(0), X1.shape)
    kernel = network.kernel_fn(X1, X2)
    assert made == kernel.shape1 == (3, 4, 1)
    assert kernel.nngp.shape == (3, 2, 4, 4)


def normalized(x):
    return x / jnp.sqrt(jnp.mean(jnp.square(x), axis=(1, 2, 3), keepdims=True))


def normalized_kernel(k, k11, k22):
    """K over the root of the mean variances of either image."""
    one, two = (jnp.einsum("hhww->", own) / 16 for own in (k11, k22))
    return k / jnp.sqrt(one * two)


def test_map_of_kernels_is_the_layer_that_it_stands_for():
    conv = Conv(1, (3, 1), padding="SAME", W_std=1.3, b_std=0.1)
    own = serial(conv, KernelMap(normalized, normalized_kernel, is_gaussian=True), Relu())
    ours = serial(conv, LayerNorm((1, 2, 3)), Relu())
    made = fast_jit(lambda a, b: [n.kernel_fn(a, b) for n in (own, ours)])(X1, X2)
    for name in FIELDS:
        np.testing.assert_allclose(*(getattr(k, name) for k in made), atol=1e-10, err_msg=name)


def test_gradients_pass_through_a_map_of_kernels():
    network = serial(Dense(1), KernelMap(normalized, normalized_kernel, is_gaussian=True))
    value = lambda x: jnp.sum(jnp.sin(network.kernel_fn(x, X2, "nngp")))  # noqa: E731
    gradient = fast_jit(jax.grad(value))(X1)
    step = 1e-5 * RNG.normal(size=X1.shape)
    secant = value(X1 + step) - value(X1 - step)
    np.testing.assert_allclose(2 * jnp.sum(gradient * step), secant, rtol=1e-5)


def test_decorators_of_the_old_way():
    @layer
    @supports_masking(remask_kernel=True)
    def Scaled(factor, channel_axis=-1):
        @requires(batch_axis=0, channel_axis=channel_axis, diagonal_spatial=True)
        def kernel_fn(k, **kwargs):
            return k * factor

        init_fn = lambda rng, shape: (shape, ())  # noqa: E731
        return init_fn, lambda params, x, **kwargs: factor * x, kernel_fn, lambda mask, shape: mask

    network = serial(Dense(1, 1.2), Scaled(3.0), Relu())
    wanted = serial(Dense(1, 3.6), Relu()).kernel_fn(X1, X2)
    kernel = network.kernel_fn(X1, X2)
    np.testing.assert_allclose(kernel.nngp, wanted.nngp, atol=1e-12)
    np.testing.assert_allclose(kernel.ntk, wanted.ntk, atol=1e-7)
    assert repr(Scaled(3.0)) == "Scaled()"
    with pytest.raises(ValueError, match=r"Scaled at layer 1: takes .*channel_axis=1"):
        serial(Dense(1), Scaled(2.0, channel_axis=1)).kernel_fn(X1)
    Nothing = layer(lambda: None)
    with pytest.raises(TypeError, match="returned None, expected a triple"):
        Nothing()
    with pytest.raises(TypeError, match=r"unknown \['batch'\]"):
        requires(batch=0)


def test_arithmetic_of_kernels():
    kernel = Dense(1).kernel_fn(X1[:, 0, 0], X2[:, 0, 0])
    np.testing.assert_allclose((2 * kernel).nngp, 4 * kernel.nngp)
    np.testing.assert_allclose((kernel / 2).distance, kernel.distance)
    added = kernel + 3.0
    np.testing.assert_allclose(added.cov1, kernel.cov1 + 9)
    np.testing.assert_allclose(added.ntk, kernel.ntk)
    np.testing.assert_allclose((-kernel).nngp, kernel.nngp)


ERRORS = [
    (lambda: PositionMap(jnp.square), "is no linear map"),
    (lambda: PositionMap(lambda x: jnp.cumsum(x, -1)), "treats channels alike"),
    (lambda: PositionMap(lambda x: x[:, :, :, :1]), "other numbers of examples or channels"),
    (lambda: PositionMap(lambda x: jnp.sum(x)), "lacks batch_axis=0"),
    (lambda: PositionMap(3), "expected a function"),
    (lambda: KernelMap(lambda x: x, 3), "expected a function of three"),
    (lambda: KernelMap(lambda x: x[:, 1:], lambda k, a, b: k), "return one entry for each pair"),
]


@pytest.mark.parametrize(("make", "message"), ERRORS, ids=[message for _, message in ERRORS])
def test_what_is_no_such_function_is_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make().kernel_fn(X1)


def combined(*kernels, size=1.0):
    """The kernel of size times the sum of independent branches."""
    first = kernels[0]
    totals = {
        name: sum(getattr(k, name) for k in kernels) * size**2
        for name in FIELDS
        if getattr(first, name) is not None
    }
    return first.replace(**totals)


@layer
@supports_masking(remask_kernel=False)
def OwnSum():
    def kernel_fn(kernels, size=1.0, **kwargs):
        return combined(*kernels, size=size)

    init_fn = lambda rng, shapes: (shapes[0], ())  # noqa: E731
    mask_fn = lambda masks, shapes: masks[0] & masks[1]  # noqa: E731
    return init_fn, lambda params, x, **kwargs: x[0] + x[1], kernel_fn, mask_fn


@layer
def Swapped():
    init_fn = lambda rng, shapes: (shapes[::-1], ())  # noqa: E731
    return init_fn, lambda params, x, **kwargs: x[::-1], lambda k, **kwargs: [k[1], [k[0]]]


@layer
def OwnFan():
    init_fn = lambda rng, shape: ([shape, shape], ())  # noqa: E731
    return init_fn, lambda params, x, **kwargs: [x, x * 2], lambda k, **kwargs: [k, k * 2]


def test_own_layers_take_and_return_lists():
    """A FanIn, a FanOut and a permutation of a user's own, and those of ours."""
    below = serial(BELOW, FanOut(2), parallel(Dense(1), Conv(1, (1, 1), W_std=1.7, b_std=0.2)))
    own, ours = (serial(below, join, Relu(), Dense(1)) for join in (OwnSum(), FanInSum()))
    x1 = np.where(np.arange(4)[:, None, None] < 3, X1, 9.0)  # the last row is masked
    pairs = zip(
        (own.kernel_fn(x1, X2, mask_constant=9.0), jax.jit(own.kernel_fn)(X1)),
        (ours.kernel_fn(x1, X2, mask_constant=9.0), jax.jit(ours.kernel_fn)(X1)),
        strict=True,
    )
    for made, wanted in pairs:
        for name in (*FIELDS, "mask1", "mask2"):
            one, other = getattr(made, name), getattr(wanted, name)
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_allclose(one, other, atol=1e-10, err_msg=name)
    assert own.init_fn(jax.random.key(0), X1.shape)[0] == (3, 4, 4, 1)

    fan = serial(Dense(1, 1.3), OwnFan())
    one, two = fan.kernel_fn(X1, X2, "nngp")
    np.testing.assert_allclose(two, 4 * one)
    with pytest.raises(ValueError, match="both depend linearly on the weights of OwnFan"):
        serial(fan, FanInSum()).kernel_fn(X1)

    y = X1[:, :2, 0, 0]
    swapped = serial(Swapped(), parallel(Dense(1), parallel(Relu())))
    with pytest.raises(ValueError, match="not Gaussian"):
        swapped.kernel_fn([y, y], None, "ntk")
    swapped = serial(
        parallel(Dense(1, 1.1), Dense(1, 1.7)), Swapped(), parallel(Relu(), parallel(Relu()))
    )
    first, (second,) = swapped.kernel_fn([y, -y], None, "ntk")
    for std, x, found in ((1.7, -y, first), (1.1, y, second)):
        np.testing.assert_allclose(found, serial(Dense(1, std), Relu()).kernel_fn(x, None, "ntk"))
    kernels = [Dense(1).kernel_fn(y), Dense(1, 2.0).kernel_fn(y)]
    found = OwnSum().kernel_fn(kernels, size=3.0).nngp
    np.testing.assert_allclose(found, 45 * kernels[0].nngp)


def test_own_layers_that_do_not_take_lists_say_so():
    @layer
    def Twice():
        return (lambda rng, s: (s, ())), (lambda p, x, **_: 2 * x), (lambda k, **_: k * 2.0)

    @layer
    def Numbers():
        return (lambda rng, s: (s, ())), (lambda p, x, **_: x), (lambda k, **_: [k[0], 3])

    two = parallel(Dense(1), Dense(1))
    with pytest.raises(
        ValueError, match=r"Twice at layer 1: a list of 2 inputs came.*use parallel"
    ):
        serial(two, Twice()).kernel_fn([X1, X1])
    with pytest.raises(ValueError, match="Numbers at layer 1: the user's kernel_fn returned int"):
        serial(two, Numbers()).kernel_fn([X1, X1])


@layer
def Weighted():
    def kernel_fn(k, axes=(), names=None, **kwargs):
        assert isinstance(axes, (list, tuple))
        factor = float(sum(axes)) if axes else 1.0
        if isinstance(axes, list):
            axes.append(100)  # the caller's list stays as it is
        return k * (factor * (2.0 if names == {"a": [1, 2]} else 1.0))

    return (lambda rng, shape: (shape, ())), (lambda params, x, **kwargs: x), kernel_fn


def test_keywords_may_be_lists_and_dictionaries():
    kernel_fn = serial(Dense(1), Weighted()).kernel_fn
    plain, axes = kernel_fn(X1, X2, "nngp"), [1, 2]
    for _ in range(2):
        np.testing.assert_allclose(kernel_fn(X1, X2, "nngp", axes=axes), 9 * plain)
    np.testing.assert_allclose(kernel_fn(X1, X2, "nngp", axes=(1, 3)), 16 * plain)
    axes[0] = 2
    names = {"a": [1, 2]}
    np.testing.assert_allclose(kernel_fn(X1, X2, "nngp", axes=axes, names=names), 64 * plain)
    with pytest.raises(TypeError, match=r"names holds .* has no hash.*lists"):
        kernel_fn(X1, names=bytearray(b"a"))
