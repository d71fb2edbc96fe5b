"""Masks of layers that move positions: recurrent ones, transposed convolutions, concatenations.

As in `test_masks.py`, the kernels of a network are one program for all kinds of masks.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax.stax import Recurrent
from tests.contract import twins, twins_convolutions, twins_masks
from tests.contract.expectations import error_function, rectifier
from tests.contract.twins_masks import masked
from tests.helpers import fast_jit

KINDS = ("feature", "position", "row", "example", "all")
NUMBERS = (1.2, 1.1, 0.2, 0.5)
DENSE, DENSE_TWIN = stax.Dense(4, 1.1, 0.1), masked(twins.dense(W_std=1.1, b_std=0.1))
ERF = masked(twins.activation(error_function()))
RELU = masked(twins.activation(rectifier(0.0, 1.0)))
CONV = stax.Conv(4, (3,), padding="SAME", b_std=0.3)
CONV_TWIN = masked(twins.conv((3,), padding="SAME", b_std=0.3))


def recurrent(activation, **options):
    layers = {"relu": (stax.Relu(), rectifier(0.0, 1.0)), "erf": (stax.Erf(), error_function())}
    layer, expectations = layers[activation]
    twin = twins_masks.recurrent(expectations, *NUMBERS, **options)
    return Recurrent(4, layer, *NUMBERS, **options), twin


def transposed(taps, strides, padding):
    numbers = {"W_std": 1.3, "b_std": 0.2}
    layer = stax.ConvTranspose(4, taps, strides, padding, **numbers)
    twin = twins_convolutions.conv_transpose(taps, strides, padding, **numbers)
    return layer, masked(twin, twins_masks.reached(taps, strides, padding))


def branches(join, twin):
    two = lambda: (stax.Dense(4, 1.3, 0.2), stax.Dense(4, 1.1))  # noqa: E731
    layer = stax.serial(stax.FanOut(2), stax.parallel(*two()), join)
    of_two = masked(twins.dense(W_std=1.3, b_std=0.2)), masked(twins.dense(W_std=1.1))
    return layer, twins.serial(twins.fan_out(2), twins.parallel(*of_two), twin)


def network(*pairs):
    layers, twin = zip(*pairs, strict=True)
    return stax.serial(*layers), twins.serial(*twin)


#: The shape of an example, layers and their twins.
NETWORKS = {
    "Recurrent": ((5, 2), (CONV, CONV_TWIN), recurrent("relu"), (DENSE, DENSE_TWIN),
                  (stax.Erf(), ERF)),
    "Recurrent, all states": (
        (5, 2), recurrent("erf", return_sequences=True, bidirectional=True), (DENSE, DENSE_TWIN),
        (stax.Relu(), RELU), (stax.GlobalAvgPool(), twins_masks.global_avg_pool),
    ),
    "Recurrent, both last states": ((5, 2), recurrent("relu", bidirectional=True)),
    "ConvTranspose": ((3, 2, 2), transposed((3, 2), (2, 3), "SAME"), (stax.Erf(), ERF),
                      transposed((2, 2), (1, 1), "VALID")),
    "ConvTranspose on a ring": ((3, 2, 2), transposed((3, 2), (2, 1), "CIRCULAR")),
    "FanInConcat of positions": (
        (3, 2, 2), branches(stax.FanInConcat(2), twins_masks.fan_in_concat_positions(1)),
        (stax.Erf(), ERF), (stax.GlobalAvgPool(), twins_masks.global_avg_pool),
    ),
    "FanInConcat of channels": (
        (3, 2, 2), branches(stax.FanInConcat(), twins_masks.fan_in_concat_channels),
        (DENSE, DENSE_TWIN), (stax.Erf(), ERF),
    ),
}  # fmt: skip


def masked_inputs(shape, kind, constant):
    """Two batches, and which of their entries are masked."""
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(n, *shape)) for n in (3, 2)]
    for x in batches:
        if kind == "feature":
            x[:, 0, ..., 0] = constant
            x[1, ..., 1] = constant
        if kind == "position":
            x[0, -2:], x[1, 1], x[-1, 0, :1] = constant, constant, constant
        if kind == "row":
            x[:, 1], x[1, 0] = constant, constant
        if kind == "example":
            x[0] = constant
        if kind == "all":
            x[:] = constant
    return batches, [np.isnan(x) if np.isnan(constant) else x == constant for x in batches]


@functools.cache
def program(name):
    shape, *pairs = NETWORKS[name]
    layer, twin = network(*pairs)

    def kernels(x1, x2, constant):
        return layer.kernel_fn(x1, x2, mask_constant=constant)

    return shape, layer, twin, fast_jit(kernels)


@pytest.mark.parametrize("constant", [7.0, np.nan])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", list(NETWORKS))
def test_kernels_are_those_of_loops(name, kind, constant):
    shape, _, twin, kernels = program(name)
    batches, is_masked = masked_inputs(shape, kind, constant)
    kernel = kernels(*batches, constant)
    x1, x2 = (np.where(m, 0.0, x) for x, m in zip(batches, is_masked, strict=True))
    m1, m2 = (m.all(-1).reshape(len(m), -1) for m in is_masked)
    wanted, m1, m2 = twin((twins.inputs(x1, x2, 4), m1, m2))
    for field in ("nngp", "ntk", "cov1", "cov2"):
        matrices = getattr(wanted, "cov" if field == "nngp" else field)
        matrices = twins.interleaved(matrices, wanted.sizes)
        scale = max(np.max(np.abs(matrices)), 1e-3)
        actual = getattr(kernel, field)
        np.testing.assert_allclose(actual, matrices, rtol=0, atol=1e-12 * scale, err_msg=field)
    for mask, of_loops in ((kernel.mask1, m1), (kernel.mask2, m2)):
        np.testing.assert_array_equal(mask.reshape(len(mask), -1), of_loops)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_finite_networks_do_not_see_masked_entries(name):
    shape, layer, _, kernels = program(name)

    @fast_jit
    def outputs(key, x, constant):
        _, params = layer.init_fn(key, x.shape)
        out = layer.apply_fn(params, x, mask_constant=constant)
        return out.masked_value, jnp.broadcast_to(out.mask, out.masked_value.shape)

    made = []
    for constant in (7.0, np.nan):
        (x1, x2), _ = masked_inputs(shape, "position", constant)
        value, mask = map(np.asarray, outputs(jax.random.key(0), x1, constant))
        of_kernel = np.asarray(kernels(x1, x2, constant).mask1)[..., 0]
        np.testing.assert_array_equal(mask.all(-1), of_kernel)
        made.append(np.where(mask, 0.0, value))
    np.testing.assert_array_equal(*made)
    assert np.all(np.isfinite(made[0]))


@pytest.mark.parametrize("is_sequence", [False, True])
def test_masked_steps_of_finite_networks_leave_the_state_as_it_is(is_sequence):
    layer = Recurrent(3, stax.Erf(), *NUMBERS, return_sequences=is_sequence, bidirectional=True)
    x = np.random.default_rng(0).normal(size=(2, 5, 2))
    kept = np.array([True, False, True, True, False])
    _, params = layer.init_fn(jax.random.key(0), x.shape)
    masked_x = np.where(kept[:, None], x, np.nan)
    made = layer.apply_fn(params, masked_x, mask_constant=np.nan)
    short = layer.apply_fn(params, x[:, kept])
    value = made.masked_value[:, kept] if is_sequence else made.masked_value
    np.testing.assert_allclose(value, short, rtol=1e-12)
    wanted = np.tile(~kept[None, :, None], (2, 1, 1)) if is_sequence else np.zeros((2, 1), bool)
    np.testing.assert_array_equal(np.broadcast_to(made.mask, wanted.shape), wanted)


def test_sequences_of_all_lengths_are_as_if_alone_in_float32():
    """Also in tiles, and with all of their digits."""
    layer = stax.serial(Recurrent(4, stax.Relu(), *NUMBERS), stax.Dense(1))
    x = np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)
    padded = np.where(np.arange(5)[None, :, None] < np.arange(2, 6)[:, None, None], x, np.nan)
    kernel_fn = fast_jit(lambda x: layer.kernel_fn(x, None, "ntk", mask_constant=np.nan))
    made = np.asarray(kernel_fn(padded))
    np.testing.assert_array_equal(made, made.T)
    for i, length in enumerate(range(2, 6)):
        alone = layer.kernel_fn(x[i:, :length], None, "ntk")[0, 0]
        np.testing.assert_allclose(made[i, i], alone, rtol=1e-6)


def test_examples_side_by_side_keep_their_masks():
    one, two = stax.Dense(4, 1.3, 0.2), stax.Dense(4, 1.1)
    both = stax.serial(stax.FanOut(2), stax.parallel(one, two), stax.FanInConcat(0))
    (x1, x2), _ = masked_inputs((3, 2), "position", 7.0)
    kernel = both.kernel_fn(x1, x2, mask_constant=7.0)
    parts = [layer.kernel_fn(x1, x2, mask_constant=7.0) for layer in (one, two)]
    np.testing.assert_allclose(kernel.nngp[:3, :2], parts[0].nngp, atol=1e-15)
    np.testing.assert_allclose(kernel.ntk[3:, 2:], parts[1].ntk, atol=1e-15)
    assert np.max(np.abs(kernel.nngp[:3, 2:])) < 1e-15
    for side in ("mask1", "mask2"):
        masks = [getattr(part, side) for part in parts]
        np.testing.assert_array_equal(getattr(kernel, side), np.concatenate(masks))
    _, params = both.init_fn(jax.random.key(0), x1.shape)
    made = both.apply_fn(params, x1, mask_constant=7.0)
    np.testing.assert_array_equal(made.mask, kernel.mask1)
