"""Masks: every layer with every kind of mask, against loops; finite networks; errors.

The kernels of one network are one program for all kinds of masks, which are in the inputs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax import stax
from tests.contract import twins, twins_masks
from tests.contract.expectations import error_function, rectifier
from tests.contract.twins_masks import masked, middle
from tests.helpers import fast_jit

CONV = {"W_std": 1.3, "b_std": 0.2}
RELU = masked(twins.activation(rectifier(0.0, 1.0)))
ERF = masked(twins.activation(error_function()))
DENSE = masked(twins.dense(W_std=1.1, b_std=0.1))
SHAPE = (4, 3, 2)
KINDS = ("feature", "position", "row", "example", "all", "none")


def conv(taps, strides=None, padding="SAME"):
    layer = stax.Conv(4, taps, strides, padding, **CONV)
    twin = masked(twins.conv(taps, strides, padding, **CONV), middle(taps, strides, padding))
    return layer, twin


def pooled(name, taps, strides, padding):
    layer = {"avg": stax.AvgPool, "sum": stax.SumPool}[name](taps, strides, padding)
    twin = {"avg": twins.avg_pool, "sum": twins.sum_pool}[name](taps, strides, padding)
    return layer, masked(twin, middle(taps, strides, padding))


def network(*pairs):
    layers, twin = zip(*pairs, strict=True)
    return stax.serial(*layers), twins.serial(*twin)


def residual():
    first, of_first = conv((3, 3))
    second, of_second = conv((2, 3))
    layer = stax.serial(
        first, stax.FanOut(2), stax.parallel(stax.serial(stax.Erf(), second), stax.Identity()),
        stax.FanInSum(),
    )  # fmt: skip
    twin = twins.serial(
        of_first, twins.fan_out(2), twins.parallel(twins.serial(ERF, of_second), twins.identity()),
        twins_masks.fan_in_sum,
    )  # fmt: skip
    return layer, twin


ERF_PAIR, RELU_PAIR = (stax.Erf(), ERF), (stax.Relu(), RELU)
DENSE_PAIR = stax.Dense(4, 1.1, 0.1), DENSE
FLAT = stax.Flatten(), masked(twins.flatten(), twins_masks.gone)
GAP = stax.GlobalAvgPool(), twins_masks.global_avg_pool
GSP = stax.GlobalSumPool(), masked(twins.global_sum_pool(), twins_masks.gone)
NORM = stax.LayerNorm((1, 3)), twins_masks.layer_norm((0,))

NETWORKS = {
    "Conv, Erf, Flatten": (conv((3, 3)), ERF_PAIR, FLAT, DENSE_PAIR),
    "VALID and strides": (conv((2, 2), None, "VALID"), RELU_PAIR, conv((2, 1), (2, 1))),
    "AvgPool below a nonlinearity": (
        conv((3, 3)), ERF_PAIR, pooled("avg", (2, 2), (2, 1), "SAME"), DENSE_PAIR, RELU_PAIR,
    ),
    "SumPool": (conv((3, 3)), pooled("sum", (3, 2), (1, 1), "CIRCULAR")),
    "GlobalAvgPool below a nonlinearity": (
        conv((3, 3)), RELU_PAIR, DENSE_PAIR, GAP, ERF_PAIR, DENSE_PAIR,
    ),
    "GlobalSumPool below a nonlinearity": (conv((3, 1)), GSP, RELU_PAIR, DENSE_PAIR),
    "pools on top": (DENSE_PAIR, ERF_PAIR, GAP),
    "LayerNorm": (conv((3, 3)), NORM, RELU_PAIR),
    "FanInSum": (residual(), RELU_PAIR, GAP, DENSE_PAIR),
    "pool of inputs": (GAP, DENSE_PAIR),
}  # fmt: skip


def masked_inputs(kind, constant):
    """Two batches, and their positions that are masked."""
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(n, *SHAPE)) for n in (3, 2)]
    for x in batches:
        if kind == "feature":
            x[:, 0, ..., 0] = constant
            x[1, ..., 1] = constant
        if kind == "position":
            x[0, 1:3, 0], x[1, 2], x[-1, -2:, 1:] = constant, constant, constant
        if kind == "row":
            x[:, 1], x[1, :, 0] = constant, constant
        if kind == "example":
            x[0], x[-1, 1] = constant, constant
        if kind == "all":
            x[:] = constant
    is_masked = [np.isnan(x) if np.isnan(constant) else x == constant for x in batches]
    return batches, is_masked


@functools.cache
def program(name):
    layer, twin = network(*NETWORKS[name])

    def kernels(x1, x2, constant):
        return layer.kernel_fn(x1, x2, mask_constant=constant)

    return layer, twin, fast_jit(kernels)


def expected(twin, kind, constant):
    batches, is_masked = masked_inputs(kind, constant)
    x1, x2 = (np.where(m, 0.0, x) for x, m in zip(batches, is_masked, strict=True))
    m1, m2 = (m.all(-1).reshape(len(m), -1) for m in is_masked)
    return twin((twins.inputs(x1, x2, 4), m1, m2))


@pytest.mark.parametrize("constant", [7.0, np.nan])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(NETWORKS))
def test_kernels_are_those_of_loops(name, kind, constant):
    _, twin, kernels = program(name)
    (x1, x2), _ = masked_inputs(kind, constant)
    kernel = kernels(x1, x2, constant)
    wanted, m1, m2 = expected(twin, kind, constant)
    for field in ("nngp", "ntk", "cov1", "cov2"):
        matrices = getattr(wanted, "cov" if field == "nngp" else field)
        matrices = twins.interleaved(matrices, wanted.sizes)
        scale = max(np.max(np.abs(matrices)), 1e-3)
        actual = getattr(kernel, field)
        np.testing.assert_allclose(actual, matrices, rtol=0, atol=1e-12 * scale, err_msg=field)
    for mask, of_loops in ((kernel.mask1, m1), (kernel.mask2, m2)):
        np.testing.assert_array_equal(mask.reshape(len(mask), -1), of_loops)


def test_one_batch_is_exactly_symmetric_also_in_tiles():
    layer, _, _ = program("FanInSum")
    (x, _), _ = masked_inputs("position", 7.0)
    kernel_fn = fast_jit(lambda x, y: layer.kernel_fn(x, y, "ntk", mask_constant=7.0))
    twice = np.asarray(kernel_fn(x, x))
    forecast = layer.kernel_fn.plan(x.shape, mask_constant=7.0)
    with ntkjax.config.set(memory_budget=forecast.bytes - 1):
        assert layer.kernel_fn.plan(x.shape, mask_constant=7.0).tiles > 1
        once = np.asarray(kernel_fn(x, None))
    np.testing.assert_array_equal(once, once.T)
    np.testing.assert_allclose(once, twice, rtol=1e-7)


def test_two_networks_in_a_row_hand_the_mask_on():
    (below, _), (above, _) = network(conv((3, 3)), ERF_PAIR), network(DENSE_PAIR, GAP, RELU_PAIR)

    @fast_jit
    def ways(x1, x2):
        kernel = below.kernel_fn(x1, x2, mask_constant=7.0)
        whole = stax.serial(below, above).kernel_fn(x1, x2, "ntk", mask_constant=7.0)
        return above.kernel_fn(kernel, None, "ntk"), whole

    (x1, x2), _ = masked_inputs("position", 7.0)
    np.testing.assert_allclose(*ways(x1, x2), rtol=1e-10)


def test_short_texts_are_as_if_alone_and_constants_are_compared_in_the_dtype_of_inputs():
    network = stax.serial(stax.Dense(4, b_std=0.3), stax.Erf(), stax.GlobalAvgPool(), stax.Dense(1))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    x[0, 3:] = 0.1
    ntk = network.kernel_fn(x, None, "ntk", mask_constant=0.1)
    alone = network.kernel_fn(x[:1, :3], None, "ntk")
    np.testing.assert_allclose(ntk[:1, :1], alone, rtol=1e-6)


def test_gradients_do_not_see_masked_entries():
    layer, _, _ = program("GlobalAvgPool below a nonlinearity")
    (x1, x2), (m1, _) = masked_inputs("position", 7.0)

    @fast_jit
    @jax.value_and_grad
    def both(x):
        x = jnp.where(m1, 7.0, x)
        return jnp.sum(jnp.cos(layer.kernel_fn(x, x2, "ntk", mask_constant=7.0)))

    _, gradient = both(x1)
    assert np.all(np.isfinite(gradient))
    assert np.all(np.asarray(gradient)[m1] == 0)
    direction = np.random.default_rng(1).normal(size=x1.shape)
    secant = (both(x1 + 1e-5 * direction)[0] - both(x1 - 1e-5 * direction)[0]) / 2e-5
    np.testing.assert_allclose(np.sum(gradient * direction), secant, rtol=1e-6)


# ---- finite networks


@pytest.mark.parametrize("name", list(NETWORKS))
def test_finite_networks_do_not_see_masked_entries(name):
    layer, _, kernels = program(name)

    @fast_jit
    def outputs(key, x, constant):
        _, params = layer.init_fn(key, x.shape)
        out = layer.apply_fn(params, x, mask_constant=constant)
        assert isinstance(out, stax.MaskedArray)
        values = stax.unmask_fn(layer.apply_fn)(params, x, mask_constant=constant)
        return out.masked_value, jnp.broadcast_to(out.mask, values.shape), values

    made = []
    for constant in (7.0, np.nan):
        (x1, x2), _ = masked_inputs("position", constant)
        value, mask, unmasked = map(np.asarray, outputs(jax.random.key(0), x1, constant))
        assert np.all(np.isfinite(value))
        np.testing.assert_array_equal(unmasked, np.where(mask, 0.0, value))
        of_kernel = np.asarray(kernels(x1, x2, constant).mask1)[..., 0]
        np.testing.assert_array_equal(mask.all(-1), of_kernel)
        made.append(unmasked)
    np.testing.assert_array_equal(*made)


def test_means_of_finite_networks_count_what_is_not_masked():
    x = np.array([[[1.0, 2.0], [3.0, 9.0], [9.0, 9.0]]])
    pooled = stax.GlobalAvgPool()[1]((), x, mask_constant=9.0)
    np.testing.assert_array_equal(pooled.masked_value, [[2.0, 2.0]])
    normed = stax.unmask_fn(stax.LayerNorm((1, 2))[1])((), x, mask_constant=9.0)
    three = (np.array([1.0, 2.0, 3.0]) - 2) / np.std([1, 2, 3])
    wanted = np.array([[three[:2], [three[2], 0], [0, 0]]])
    np.testing.assert_allclose(normed, wanted, atol=1e-9)


def test_plain_arrays_stay_plain():
    x = np.ones((2, 3))
    assert isinstance(stax.Relu()[1]((), x), jax.Array)
    assert isinstance(stax.unmask_fn(stax.Relu()[1])((), x), jax.Array)


# ---- names of neural-tangents


def test_bool_and_diagonal():
    no, maybe, yes = stax.Bool.NO, stax.Bool.MAYBE, stax.Bool.YES
    assert [no & yes, maybe & yes, yes & yes] == [no, maybe, yes]
    every = [stax.Diagonal(i, o) for i in stax.Bool for o in stax.Bool]
    for a in every:
        assert a & a == a
        for b in every:
            assert (a >> b) == (b << a)
            assert a & b == b & a
            for c in every:
                assert (a >> b) >> c == a >> (b >> c)
    assert bool(stax.Diagonal(yes, maybe))
    assert not stax.Diagonal()


# ---- errors

X = np.ones((2, 4, 3))


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: stax.Dense(1).kernel_fn(X, mask_constant="x"), TypeError, ["'x'", "real number"]),
        (lambda: stax.Dense(1).kernel_fn(X, mask_constant=X), TypeError, ["shape (2, 4, 3)"]),
        (lambda: stax.Relu()[1]((), X, mask_constant="x"), TypeError, ["Relu: mask_constant='x'"]),
        (lambda: stax.unmask_fn(3), TypeError, ["fn is int", "a function"]),
        (
            lambda: stax.Dense(1).kernel_fn(np.where(X, np.nan, X), mask_constant=1.0),
            ValueError,
            ["x1 must be finite"],
        ),
        (
            lambda: stax.Dense(1).kernel_fn(
                stax.Dense(1).kernel_fn(X).replace(mask1=np.ones((2, 5, 1), bool))
            ),
            ValueError,
            ["mask1 has shape (2, 5, 1)", "keep the mask"],
        ),
    ],
)
def test_errors(call, kind, words):
    with pytest.raises(kind) as error:
        call()
    assert all(word in str(error.value) for word in words), error.value
