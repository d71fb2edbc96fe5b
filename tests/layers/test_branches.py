"""Products and concatenations of branches, and Dropout: what the contract's laws leave out.

Covariances alone, examples side by side, digits of near-equal points, and errors.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax.stax import (
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Dropout,
    FanInConcat,
    FanInProd,
    FanInSum,
    FanOut,
    Flatten,
    Identity,
    Relu,
    parallel,
    serial,
)

X = np.random.default_rng(0).normal(size=(4, 3))
IMAGES = np.random.default_rng(1).normal(size=(2, 4, 3))


def joined(join, *branches):
    return serial(FanOut(len(branches)), parallel(*branches), join)


def relu_of(cov, var1, var2):
    """E relu(u) relu(v)."""
    product = np.sqrt(var1 * var2)
    angle = np.arccos(np.clip(cov / product, -1, 1))
    return product * (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)


def test_covariances_of_a_product_without_distances():
    """Where no distances are held, as for `get="ntk"` alone."""
    one, two = serial(Dense(2, 1.3, 0.2), Relu()), Dense(2, 0.8, 0.5)
    a, b = one.kernel_fn(X), two.kernel_fn(X)
    wanted = a.ntk * b.nngp + a.nngp * b.ntk
    got = joined(FanInProd(), one, two).kernel_fn(X, None, "ntk")
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


def test_a_product_meets_large_biases_and_scales():
    """Scales of branches multiply; far below the biases ahead they give way to these."""
    tiny = serial(joined(FanInProd(), Dense(2), Dense(2)), Dense(2, 1.0, 1.0), Relu())
    x = np.float32(1e-12) * X.astype(np.float32)
    with ntkjax.config.set(dtype="inputs"):
        kernel = tiny.kernel_fn(x)
        large = joined(FanInProd(), Dense(2), Dense(2)).kernel_fn(x * np.float32(1e24))
    np.testing.assert_allclose(kernel.nngp, np.full((4, 4), 0.5), rtol=1e-6)
    wanted = np.square(np.float64(x * np.float32(1e24)) @ np.float64(x.T * np.float32(1e24)) / 3)
    assert np.all(np.isinf(large.nngp[wanted > 1e39]))
    assert not np.any(np.isnan(large.nngp))


@pytest.mark.parametrize("join", [FanInProd, FanInConcat], ids=["product", "channels"])
def test_near_equal_points_keep_their_digits(join):
    x = X.astype(np.float32)
    x = np.concatenate([x, x + np.float32(1e-3) * x[::-1]])
    layers = []
    for _ in range(2):
        layers += [
            joined(join(), serial(Dense(4, 1.2, 0.3), Relu()), Dense(4, 1.0, 0.5)),
            Dense(4, 1.3), Relu(),
        ]  # fmt: skip
    kernel_fn = serial(*layers, Dense(1)).kernel_fn
    high = kernel_fn(np.float64(x), None, ("ntk", "distance"))
    with ntkjax.config.set(dtype="inputs"):
        low = kernel_fn(x, None, ("ntk", "distance"))
    np.testing.assert_allclose(low.ntk, high.ntk, rtol=1e-5)
    near = np.eye(len(x), k=len(x) // 2, dtype=bool)
    # Of numbers near 1, these are some 1e-7: covariances would know none of their digits.
    np.testing.assert_allclose(low.distance[near], high.distance[near], rtol=1e-3)


@pytest.mark.parametrize("is_symmetric", [False, True])
def test_examples_side_by_side(is_symmetric):
    """Blocks, in the middle of a network with positions."""
    one, two = Conv(2, (2,), W_std=1.2, b_std=0.3), serial(Conv(2, (2,)), Relu(), Dense(2))
    x1, x2 = IMAGES, None if is_symmetric else IMAGES[:1] + 1
    network = joined(FanInConcat(0), one, two)
    kernel = network.kernel_fn(x1, x2)
    parts = [layer.kernel_fn(x1, x2) for layer in (one, two)]
    n1, n2 = len(x1), len(x1 if x2 is None else x2)
    for name in ("nngp", "ntk"):
        wanted = np.zeros((2 * n1, 2 * n2, 3, 3))
        for i, part in enumerate(parts):
            wanted[i * n1 : (i + 1) * n1, i * n2 : (i + 1) * n2] = getattr(part, name)
        np.testing.assert_allclose(getattr(kernel, name), wanted, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(kernel.cov1, np.concatenate([p.cov1 for p in parts]), rtol=1e-10)
    assert kernel.shape1 == (2 * n1, 3, 2) == network.init_fn(jax.random.key(0), x1.shape)[0]
    assert kernel.is_gaussian
    deeper = serial(network, Relu(), Flatten()).kernel_fn(x1, x2, "nngp")
    var1 = np.einsum("npp->np", kernel.cov1)
    var2 = var1 if is_symmetric else np.einsum("npp->np", kernel.cov2)
    after = relu_of(np.einsum("mnpp->mnp", kernel.nngp), var1[:, None], var2[None])
    np.testing.assert_allclose(deeper, after.mean(-1), rtol=1e-7)


def test_dropout_of_a_finite_network():
    init_fn, apply_fn, _ = Dropout(0.25)
    x, key = jnp.ones((200, 300), jnp.float32), jax.random.key(0)
    assert init_fn(key, x.shape) == (x.shape, ())
    dropped = np.asarray(apply_fn((), x, rng=key))
    assert set(np.unique(dropped)) == {0.0, 4.0}
    assert abs(np.mean(dropped) - 1) < 0.02
    for same in (Dropout(0.25, mode="test"), Dropout(1.0)):
        assert same.apply_fn((), x) is x
        network = serial(Dense(1), same, Relu())
        plain = serial(Dense(1), Relu()).kernel_fn(X, None, "nngp")
        np.testing.assert_array_equal(network.kernel_fn(X, None, "nngp"), plain)
    with pytest.raises(ValueError, match=r"apply_fn needs a random key .* rng=jax.random.key"):
        apply_fn((), x)


@pytest.mark.parametrize("rate", [0.0, -1, 1.5, np.nan])
def test_dropout_keeps_with_a_probability(rate):
    with pytest.raises(ValueError, match="Dropout: rate="):
        Dropout(rate)


def test_two_batches_are_different_examples():
    network = serial(Dense(1), Dropout(0.5))
    plain = Dense(1).kernel_fn(X, None, ("nngp", "ntk"))
    for name in ("nngp", "ntk"):
        wanted = np.asarray(getattr(plain, name))
        others = network.kernel_fn(X, X * (1 + 1e-12), name)
        np.testing.assert_allclose(others, wanted, rtol=1e-10)
        itself = wanted + np.diag(np.diag(wanted))
        np.testing.assert_allclose(network.kernel_fn(X, None, name), itself, rtol=1e-12)
        # Of equal values, they are one batch.
        np.testing.assert_allclose(network.kernel_fn(X, X.copy(), name), itself, rtol=1e-12)


ERRORS = {
    "product of a branch with itself": (
        lambda: serial(Dense(2), joined(FanInProd(), Identity(), Relu())).kernel_fn(X),
        ["FanInProd", "branches 0 and 1 both depend linearly on the weights of Dense"],
    ),
    "product of inputs": (
        lambda: joined(FanInProd(), Identity(), Identity()).kernel_fn(X),
        ["FanInProd", "branches 0 and 1 are not identically distributed", "end one of them"],
    ),
    "product of flattened positions": (
        lambda: joined(
            FanInProd(), serial(Conv(2, (2,)), Flatten()), serial(Conv(2, (2,)), Flatten())
        ).kernel_fn(IMAGES),
        ["FanInProd", "not identically distributed", "flattened positions"],
    ),
    "product of other shapes": (
        lambda: joined(FanInProd(), Dense(2), Dense(3)).kernel_fn(X),
        ["FanInProd", "(4, 2), (4, 3)", "only equal shapes can be multiplied"],
    ),
    "nonlinearity on a product": (
        lambda: serial(joined(FanInProd(), Dense(2), Dense(2)), Relu()).kernel_fn(X),
        ["Relu at layer 1", "not Gaussian (it is a product of branches)", "insert a Dense"],
    ),
    "nonlinearity on concatenated channels": (
        lambda: serial(joined(FanInConcat(), Dense(2), Dense(2)), Relu()).kernel_fn(X),
        ["Relu at layer 1", "it is channels of different branches", "insert a Dense"],
    ),
    "positions of dependent branches": (
        lambda: serial(Conv(2, (2,)), joined(FanInConcat(1), Identity(), Identity())).kernel_fn(
            IMAGES
        ),
        ["FanInConcat", "branches 0 and 1 both depend", "end one of them"],
    ),
    "positions of a nonlinearity": (
        lambda: joined(FanInConcat(1), Conv(2, (2,)), serial(Conv(2, (2,)), Relu())).kernel_fn(
            IMAGES
        ),
        ["FanInConcat", "branch 1 is not a zero-mean Gaussian", "end it with a Dense or Conv"],
    ),
    "examples of the inputs": (
        lambda: joined(FanInConcat(0), Identity(), Dense(3)).kernel_fn(X),
        ["FanInConcat", "branch 0 is not a zero-mean Gaussian"],
    ),
    "other positions": (
        lambda: joined(FanInConcat(), Conv(2, (2,)), Conv(2, (3,))).kernel_fn(IMAGES),
        ["FanInConcat", "differ in more than axis 2", "but for that axis"],
    ),
    "no such axis": (
        lambda: joined(FanInConcat(3), Dense(2), Dense(2)).kernel_fn(X),
        ["FanInConcat", "axis=3 is no axis", "use an axis from -2 to 1"],
    ),
    "one input": (
        lambda: serial(Dense(2), FanInConcat()).kernel_fn(X),
        ["FanInConcat at layer 1", "a single input came", "put FanOut and parallel before it"],
    ),
    "dropout of the inputs": (
        lambda: serial(Dropout(0.5), Dense(2)).kernel_fn(X),
        ["Dropout at layer 0", "cannot be applied to the inputs", "put a Dense or Conv before it"],
    ),
    "nonlinearity on dropout": (
        lambda: serial(Dense(2), Dropout(0.5), Relu()).kernel_fn(X),
        ["Relu at layer 2", "a random mask times an activation", "insert a Dense"],
    ),
    "sum of dropout": (
        lambda: joined(FanInSum(), serial(Dense(2), Dropout(0.5)), Dense(2)).kernel_fn(X),
        ["FanInSum", "branch 0 is not a zero-mean Gaussian"],
    ),
    "nonlinearity on a depthwise convolution": (
        lambda: serial(Conv(2, (2,)), DepthwiseConv((2,)), Relu()).kernel_fn(IMAGES),
        ["Relu at layer 2", "a weight times an activation", "DepthwiseConv", "insert a Dense"],
    ),
    "nonlinearity on groups of inputs": (
        lambda: serial(Conv(3, (2,), feature_group_count=3), Relu()).kernel_fn(IMAGES),
        ["Relu at layer 1", "groups of channels", "insert a Dense or Conv"],
    ),
    "groups that do not divide": (
        lambda: Conv(4, (2,), feature_group_count=2).kernel_fn(IMAGES),
        ["Conv at network", "2 groups do not divide the 3 channels"],
    ),
    "nonlinearity on a mean": (
        lambda: serial(Dense(2), BatchNorm(0.5, 1.0), Relu()).kernel_fn(X),
        ["Relu at layer 2", "a BatchNorm with a mean", "insert a Dense"],
    ),
    "mean of a nonlinearity": (
        lambda: serial(Dense(2), Relu(), BatchNorm(0.5, 1.0)).kernel_fn(X),
        ["BatchNorm at layer 2", "not Gaussian", "give mean=0"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(ERRORS))
def test_errors_say_what_to_do(name):
    call, words = ERRORS[name]
    with pytest.raises(ValueError) as caught:
        call()
    missing = [word for word in words if word not in str(caught.value)]
    assert not missing, str(caught.value)
