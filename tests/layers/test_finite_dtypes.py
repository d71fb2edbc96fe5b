"""Finite networks take arrays of every dtype, by the rule of `ntkjax._layers.finite`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax import stax
from ntkjax.stax import Conv, Dense, serial
from tests.precision import x64

IMAGES = np.arange(2 * 4 * 4 * 2).reshape(2, 4, 4, 2) % 3
BRANCHES = serial(
    stax.FanOut(2), stax.parallel(Dense(2), serial(Dense(2), stax.Relu())), stax.FanInSum()
)
LAYERS = {
    "Dense": Dense(3, 1.2, 0.3),
    "Dense, standard": Dense(3, 1.2, 0.3, parameterization="standard"),
    "Conv": Conv(3, (2, 2), W_std=1.2, b_std=0.3),
    "circular Conv": Conv(3, (3, 3), padding="CIRCULAR"),
    "ConvLocal": stax.ConvLocal(3, (2, 2), W_std=1.2, b_std=0.3),
    "ConvTranspose": stax.ConvTranspose(3, (2, 2), (2, 1), "CIRCULAR", 1.2, 0.3),
    "DepthwiseConv": stax.DepthwiseConv((2, 2), W_std=1.2, b_std=0.3),
    "Relu": stax.Relu(),
    "ABRelu": stax.ABRelu(0.5, 2.0),
    "Erf": stax.Erf(1.0, 0.5, 0.2),
    "Gelu": stax.Gelu(),
    "AvgPool": stax.AvgPool((2, 2), normalize_edges=True, padding="SAME"),
    "MaxPool": stax.MaxPool((2, 2)),
    "BatchNorm": stax.BatchNorm(0.5, 2.0),
    "SumPool": stax.SumPool((2, 2)),
    "GlobalAvgPool": stax.GlobalAvgPool(),
    "Flatten": stax.Flatten(),
    "LayerNorm": stax.LayerNorm(),
    "branches": BRANCHES,
}
DTYPES = ["u1", "i8", ">i4", "?", "f2", "f4", ">f4", "f8", jnp.bfloat16]


def cast(params, dtype):
    return jax.tree.map(lambda p: p.astype(dtype), params)


@pytest.mark.parametrize("name", list(LAYERS))
def test_every_layer_takes_every_dtype(name):
    init_fn, apply_fn, _ = LAYERS[name]
    params = init_fn(jax.random.key(0), IMAGES.shape)[1]
    for dtype in DTYPES:
        x = IMAGES.astype(dtype)
        exact = apply_fn(params, x.astype(float))
        outputs = apply_fn(params, x)
        is_narrow = np.dtype(dtype).kind in "fV" and x.itemsize < 8 and not jax.tree.leaves(params)
        wanted = x.dtype.newbyteorder("=") if is_narrow else np.float64
        assert outputs.dtype == wanted, dtype
        tolerance = 40 * float(jnp.finfo(wanted).eps)
        np.testing.assert_allclose(np.float64(outputs), exact, tolerance, tolerance)


@pytest.mark.parametrize("name", ["Dense", "Conv", "branches"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, jnp.bfloat16])
def test_narrow_inputs_and_parameters_stay_narrow(name, dtype):
    init_fn, apply_fn, _ = LAYERS[name]
    params = cast(init_fn(jax.random.key(0), IMAGES.shape)[1], dtype)
    assert apply_fn(params, IMAGES.astype(dtype)).dtype == dtype
    assert apply_fn(params, IMAGES).dtype == np.float64


def test_parameters_of_another_byte_order():
    init_fn, apply_fn, _ = LAYERS["Conv"]
    params = init_fn(jax.random.key(0), IMAGES.shape)[1]
    foreign = jax.tree.map(lambda p: np.asarray(p, ">f8"), params)
    np.testing.assert_array_equal(apply_fn(foreign, IMAGES), apply_fn(params, IMAGES))
    ntk_fn = ntkjax.empirical_ntk_fn(apply_fn, vmap_axes=0, trace_axes=(-1, 1, 2))
    expected = ntk_fn(IMAGES, None, params)
    np.testing.assert_array_equal(ntk_fn(IMAGES.astype(">f4"), None, foreign), expected)


@pytest.mark.parametrize("enabled", [False, True], ids=["float32", "x64"])
@pytest.mark.parametrize("dtype", ["u1", ">f4", "f2", jnp.bfloat16], ids=str)
def test_empirical_kernels_of_every_dtype(dtype, enabled):
    with x64(enabled):
        init_fn, apply_fn, _ = serial(Conv(4, (2, 2)), stax.Relu(), stax.Flatten(), Dense(2))
        params = init_fn(jax.random.key(0), IMAGES.shape)[1]
        for make in (ntkjax.empirical_ntk_fn, ntkjax.empirical_nngp_fn):
            kernel = make(apply_fn)(IMAGES.astype(dtype), None, params)
            exact = make(apply_fn)(jnp.asarray(IMAGES.astype(dtype), float), None, params)
            assert kernel.dtype == (np.float64 if enabled else np.float32)
            np.testing.assert_allclose(kernel, exact, rtol=1e-6)


def test_lists_of_numbers():
    init_fn, apply_fn, _ = LAYERS["Dense"]
    params = init_fn(jax.random.key(0), IMAGES.shape)[1]
    np.testing.assert_array_equal(apply_fn(params, IMAGES.tolist()), apply_fn(params, IMAGES))
    ntk_fn = ntkjax.empirical_ntk_fn(apply_fn)
    np.testing.assert_array_equal(
        ntk_fn(IMAGES.tolist(), None, params), ntk_fn(IMAGES * 1.0, None, params)
    )


@pytest.mark.parametrize("name", ["Dense", "Relu", "AvgPool", "Flatten"])
def test_what_is_no_real_number_is_refused(name):
    init_fn, apply_fn, _ = LAYERS[name]
    params = init_fn(jax.random.key(0), IMAGES.shape)[1]
    with pytest.raises(TypeError, match=": its input has dtype complex128, expected real numbers"):
        apply_fn(params, IMAGES * 1j)
