"""Aggregate: axes, forms of graphs, finite networks and errors (its laws are in the contract)."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax.stax import Aggregate, AggregateImplementation, Dense, Relu, serial

RNG = np.random.default_rng(0)
X1, X2 = RNG.normal(size=(3, 4, 3, 2)), RNG.normal(size=(2, 4, 3, 2))
EDGES = tuple(RNG.integers(0, 3, (n, edges, 2, 2)) for n, edges in ((3, 6), (2, 4)))
EDGES[0][1, 3:] = -1


def dense(edges, sizes):
    """Matrices of weights of lists of edges, in a loop."""
    weights = np.zeros((len(edges), *sizes, *sizes))
    for image, of_image in enumerate(edges):
        for edge in of_image:
            if edge.min() >= 0:
                weights[(image, *edge[:, 0], *edge[:, 1])] += 1
    return weights


BOTH = tuple(dense(edges, (4, 3)) for edges in EDGES)
ONE = tuple(RNG.normal(size=(n, 3, 3)) for n in (3, 2))


def summed(x, weights, axes):
    """The definition, for channels last."""
    spec = {(1, 2): "nijc,nijkl->nklc", (2,): "nijc,njl->nilc"}[axes]
    return np.einsum(spec, x, weights)


CASES = {
    "all axes": (Aggregate(), BOTH, BOTH, (1, 2)),
    "all axes, named": (Aggregate((2, 1)), BOTH, BOTH, (1, 2)),
    "one axis": (Aggregate(-2), ONE, ONE, (2,)),
    "edges": (
        Aggregate(implementation=AggregateImplementation.SPARSE), EDGES, BOTH, (1, 2),
    ),
    "decoded": (
        Aggregate(2, to_dense=lambda p: jnp.square(p[:, :, None] - p[:, None, :])),
        (np.arange(9.0).reshape(3, 3), np.ones((2, 3))),
        tuple(
            np.square(p[:, :, None] - p[:, None, :])
            for p in (np.arange(9.0).reshape(3, 3), np.ones((2, 3)))
        ),
        (2,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_the_finite_network_sums_along_edges(name):
    layer, given, weights, axes = CASES[name]
    for x, pattern, of_loop in zip((X1, X2), given, weights, strict=True):
        out = layer.apply_fn((), x, pattern=pattern)
        np.testing.assert_allclose(out, summed(x, of_loop, axes), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", list(CASES))
def test_the_kernel_is_that_of_sums(name):
    layer, given, weights, axes = CASES[name]
    y1, y2 = (summed(x, w, axes) for x, w in zip((X1, X2), weights, strict=True))
    wanted = np.einsum("aijc,bklc->abikjl", y1, y2) / 2
    nngp = layer.kernel_fn(X1, X2, "nngp", pattern=given)
    np.testing.assert_allclose(nngp, wanted, rtol=1e-10, atol=1e-10)


def test_channels_may_come_first():
    x = np.moveaxis(X1, (0, 3), (1, 0))
    layer = Aggregate(3, batch_axis=1, channel_axis=0)
    out = layer.apply_fn((), x, pattern=ONE[0])
    np.testing.assert_allclose(np.moveaxis(out, (1, 0), (0, 3)), summed(X1, ONE[0], (2,)))
    nngp = layer.kernel_fn(x, get="nngp", pattern=ONE[0])
    wanted = Aggregate(2).kernel_fn(X1, get="nngp", pattern=ONE[0])
    np.testing.assert_allclose(nngp, wanted, rtol=1e-12, atol=1e-12)


def test_without_a_pattern_it_does_nothing():
    network = serial(Dense(4), Aggregate(), Relu())
    plain = serial(Dense(4), Relu())
    for pattern in (None, (None, None)):
        ntk = network.kernel_fn(X1, X2, "ntk", pattern=pattern)
        np.testing.assert_array_equal(ntk, plain.kernel_fn(X1, X2, "ntk"))
    np.testing.assert_array_equal(Aggregate()[1]((), X1), X1)


def test_lists_of_one_axis_need_no_axis_of_their_own():
    layer = Aggregate(1, implementation="SPARSE")
    edges = RNG.integers(0, 4, (3, 5, 2))
    short = layer.kernel_fn(X1, None, "nngp", pattern=edges)
    full = layer.kernel_fn(X1, None, "nngp", pattern=edges[:, :, None])
    np.testing.assert_array_equal(short, full)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: Aggregate(implementation="x"), ValueError, ["implementation='x'", "DENSE"]),
        (lambda: Aggregate(to_dense=3), TypeError, ["to_dense=3", "a function"]),
        (lambda: Aggregate(1.5), TypeError, ["axis=1.5", "number of an axis"]),
        (
            lambda: Aggregate(3).kernel_fn(X1, pattern=ONE[0]),
            ValueError,
            ["Aggregate at network", "aggregate_axis=(3,)", "(1, 2)"],
        ),
        (
            lambda: Aggregate(1).kernel_fn(X1, pattern=ONE[0]),
            ValueError,
            ["pattern has shape (3, 3, 3), expected (3, 4, 4)", "to_dense"],
        ),
        (
            lambda: Aggregate(implementation="SPARSE").kernel_fn(X1, pattern=BOTH[0]),
            TypeError,
            ["has dtype float64, expected integers"],
        ),
        (
            lambda: Aggregate(2, implementation="SPARSE").kernel_fn(X1, pattern=EDGES[0]),
            ValueError,
            ["shape (3, 6, 2, 2), expected (3, edges, 1, 2)"],
        ),
        (
            lambda: Aggregate(2).kernel_fn(X1, X2, pattern=(ONE[0], ONE[1][:, :2])),
            ValueError,
            ["pattern has shape (3, 3, 3)", "(2, 2, 3)", "agree in all axes but the first"],
        ),
        (
            lambda: Aggregate(2)[1]((), X1, pattern=ONE[1]),
            ValueError,
            ["pattern has shape (2, 3, 3), expected (3, 3, 3)"],
        ),
        (
            lambda: stax.Dense(1).kernel_fn(X1, pattern=ONE[0]),
            ValueError,
            ["pattern=ndarray of shape", "not supported by the layers", "leave it out"],
        ),
    ],
)
def test_errors(call, kind, words):
    with pytest.raises(kind) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value
