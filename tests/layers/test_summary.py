"""`summary` and the architectures: known tables, shapes and kernels."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import ntkjax
from ntkjax import architectures, stax
from ntkjax.stax import (
    Conv,
    Dense,
    FanInSum,
    FanOut,
    Flatten,
    GlobalAvgPool,
    Relu,
    parallel,
    serial,
)
from tests.helpers import fast_jit

BRANCHES = serial(
    Conv(4, (3,), padding="SAME", b_std=0.1), Relu(), FanOut(2),
    parallel(Conv(2, (1,)), Conv(2, (1,), parameterization="standard")),
    FanInSum(), GlobalAvgPool(), Dense(3),
)  # fmt: skip


def test_summary_counts_what_is_there():
    table = ntkjax.summary(BRANCHES, (5, 6, 2))
    shape = (5, 6, 2)
    _, params = BRANCHES.init_fn(jax.random.key(0), shape)
    assert table.parameters == sum(leaf.size for leaf in jax.tree.leaves(params))
    by_path = {line.path: line for line in table.layers}
    assert list(by_path) == [(0,), (1,), (2,), (3, 0), (3, 1), (4,), (5,), (6,)]
    assert by_path[2,].shape == [(5, 6, 4), (5, 6, 4)]
    assert [by_path[path].name for path in ((3, 1), (5,))] == ["Conv", "GlobalAvgPool"]
    assert [by_path[3, k].parameterization for k in range(2)] == ["ntk", "standard"]
    assert [line.diagonals for line in table.layers] == [6, 6, 6, 6, 6, 6, 1, 1]
    assert [line.is_gaussian for line in table.layers] == [True, False, False, *[True] * 5]
    for path, line in by_path.items():
        inside = params
        for k in path:
            inside = inside[k]
        assert line.parameters == sum(leaf.size for leaf in jax.tree.leaves(inside))
    first = repr(table).splitlines()[2].split()
    assert first == ["Conv", "0", "(5,", "6,", "4)", "28", "yes", "6", "ntk"]


def test_equal_positions_are_one_diagonal():
    network = serial(Conv(4, (3,), padding="SAME"), Relu(), Flatten())
    assert [line.diagonals for line in ntkjax.summary(network, (5, 6, 2)).layers] == [1, 1, 1]


def test_what_has_no_table_is_refused():
    with pytest.raises(TypeError, match=r"put a triple of your own into stax\.serial"):
        ntkjax.summary((1, 2, 3), (5, 6))
    with pytest.raises(ValueError, match="Relu at layer 0"):
        ntkjax.summary(serial(Relu()), (5, 6))


@pytest.fixture(scope="module")
def benchmark():
    """The networks that are measured, written on their own."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
    from benchmark import networks

    yield networks
    sys.path.pop(0)


IMAGES = np.random.default_rng(0).normal(size=(2, 8, 8, 2))
POINTS = np.random.default_rng(0).normal(size=(3, 5))
KNOWN = {
    "fcn": (architectures.fcn(2), lambda b: b.fully_connected(stax, 2, "Relu"), POINTS),
    "gap": (architectures.cnn(2), lambda b: b.convolutional(stax, 2, "GlobalAvgPool"), IMAGES),
    "flatten": (
        architectures.cnn(2, pooling="flatten"), lambda b: b.convolutional(stax, 2, "Flatten"),
        IMAGES,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(KNOWN))
def test_known_kernels(name, benchmark):
    ours, other, x = KNOWN[name]
    made = fast_jit(lambda x: [k(x, None, "ntk") for k in (ours.kernel_fn, other(benchmark)[2])])(x)
    np.testing.assert_allclose(*made, rtol=1e-10)


def operations(network, shape):
    """The operations of a network, with their numbers, in the order of computation."""
    return ntkjax.summary(network, shape).layers


def test_wide_resnet_is_that_of_the_benchmark(benchmark):
    ours = architectures.wide_resnet(2, 3)
    other = benchmark.build(stax, "wide_resnet", {"block_size": 2, "k": 3})
    assert operations(ours, (2, 32, 32, 3)) == operations(other, (2, 32, 32, 3))
    assert repr(ours) == repr(other)


SHAPES = {
    "resnet": (architectures.resnet(1, 8), (2, 8, 8, 3), 1 + 3 * 3 + 1),
    "wide resnet": (architectures.wide_resnet(2, 2, pool=None), (2, 8, 8, 3), 1 + 3 * 5 + 1),
    "local pools": (architectures.cnn(2, pooling="lap", radius=1), (2, 8, 8, 3), 3),
    "one axis": (architectures.cnn(2, filter_shape=(3,)), (2, 8, 3), 3),
    **{f"myrtle {n}": (architectures.myrtle(n), (2, 32, 32, 3), n) for n in (5, 7, 10)},
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_shapes_and_layers_with_weights(name):
    network, shape, weights = SHAPES[name]
    lines = ntkjax.summary(network, shape).layers
    assert lines[-1].shape == (2, 10)
    assert sum(line.parameterization is not None for line in lines) == weights


def test_local_pools_are_shifted_images():
    """Flatten of the mean over shifts: all pairs of positions at most 2 r apart."""
    lines = ntkjax.summary(architectures.cnn(2, pooling="lap", radius=1), (2, 8, 8, 3)).layers
    assert lines[0].diagonals == 5 * 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: architectures.fcn(0), "fcn: depth=0"),
        (lambda: architectures.cnn(2, pooling="max"), r"pooling='max' is unknown.*'lap'"),
        (lambda: architectures.cnn(2, radius=-1), "cnn: radius=-1"),
        (lambda: architectures.myrtle(6), r"depth=6, expected one of \[5, 7, 10\]"),
        (lambda: architectures.wide_resnet(1, 0), "wide_resnet: k=0"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
