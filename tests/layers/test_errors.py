"""Bad input gets an error that names the layer and its place, what came, what to do."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from ntkjax.stax import (
    AvgPool,
    Conv,
    Dense,
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

X = np.ones((2, 3))
IMAGES = np.ones((2, 4, 5, 3))
KEY = jax.random.key(0)


def branches(*layers):
    return serial(FanOut(len(layers)), parallel(*layers), FanInSum())


def on_points(*layers):
    return lambda: serial(*layers).kernel_fn(X)


def on_images(*layers):
    return lambda: serial(*layers).kernel_fn(IMAGES)


def dense_of(*args, **kwargs):
    return lambda: Dense(1).kernel_fn(*args, **kwargs)


def custom(kernel_fn):
    return (lambda rng, shape: (shape, ()), lambda params, x: x, kernel_fn)


def position_kernel():
    return Conv(1, (2, 2)).kernel_fn(IMAGES, diagonal_spatial=True)


# What is called, and all that the message must say.
KERNELS = {
    "nonlinearity on the inputs": (
        on_points(Relu(), Dense(1)),
        ["Relu at layer 0", "not Gaussian", "insert a Dense or Conv before it"],
    ),
    "nonlinearity on a nonlinearity": (
        on_points(Dense(1), serial(stax.Erf(), stax.Abs())),
        ["Abs at layer 1 of layer 1", "not Gaussian", "insert a Dense or Conv before it"],
    ),
    "nonlinearity on Flatten": (
        on_images(Conv(1, (2, 2)), Flatten(), Relu()),
        ["Relu at layer 2", "not Gaussian", "insert a Dense"],
    ),
    "LayerNorm on the inputs": (
        on_points(LayerNorm()),
        ["LayerNorm at layer 0", "not Gaussian", "insert a Dense or Conv before it"],
    ),
    "nonlinearity in a branch": (
        on_points(Dense(1), branches(Dense(1), serial(Relu(), Relu(), Dense(1)))),
        ["Relu at layer 1 of branch 1 of parallel at layer 1 of layer 1", "not Gaussian"],
    ),
    "same branch twice": (
        on_points(Dense(1), branches(Identity(), Identity())),
        ["FanInSum", "branches 0 and 1", "Dense at layer 0", "end one of them with a Dense"],
    ),
    "branch of a nonlinearity": (
        on_points(Dense(1), branches(Identity(), Relu())),
        ["FanInSum", "branch 1 is not a zero-mean Gaussian", "end it with a Dense or Conv"],
    ),
    "skip from the inputs": (
        on_points(branches(Dense(3), Identity())),
        ["FanInSum", "branch 1", "put one before a skip connection from the input"],
    ),
    "branches of other widths": (
        on_points(branches(Dense(3), Dense(4))),
        ["FanInSum", "(2, 3), (2, 4)", "the same channels"],
    ),
    "FanIn of one input": (
        on_points(FanInSum()),
        ["FanInSum at layer 0", "a single input came", "put FanOut and parallel before it"],
    ),
    "layer on branches": (
        on_points(FanOut(2), Dense(1)),
        ["Dense at layer 1", "a list of 2 came", "FanInSum to join them"],
    ),
    "parallel on one input": (
        on_points(parallel(Dense(1), Dense(1))),
        ["parallel at layer 0", "2 branches", "a single input came", "FanOut(2)"],
    ),
    "parallel on too many": (
        lambda: parallel(Dense(1), Dense(1)).kernel_fn([X] * 3),
        ["parallel", "2 branches", "3 inputs came", "one input for each branch"],
    ),
    "convolution of points": (
        on_points(Conv(1, (3, 3))),
        ["Conv at layer 0", "(2, 3)", "give the input a batch axis, the spatial axes"],
    ),
    "too few spatial axes in the filter": (
        on_images(Conv(1, (3,))),
        ["Conv at layer 0", "1 spatial axes", "(2, 4, 5, 3)", "has 2", "give a window"],
    ),
    "too few spatial axes in the pool": (
        on_images(AvgPool((3,))),
        ["AvgPool at layer 0", "1 spatial axes", "(2, 4, 5, 3)", "has 2", "give a window"],
    ),
    "window larger than the image": (
        on_images(Conv(1, (5, 5))),
        ["Conv at layer 0", "(5, 5)", "(4, 5)", "padding='SAME' or a smaller window"],
    ),
    "pool larger than the image": (
        on_images(AvgPool((5, 5))),
        ["AvgPool at layer 0", "(5, 5)", "(4, 5)", "padding='SAME' or a smaller window"],
    ),
    "channels of x1 and x2": (
        dense_of(X, np.ones((2, 4))),
        ["(2, 3)", "(2, 4)", "3 and 4 channels along axis 1", "must agree"],
    ),
    "positions of x1 and x2": (
        dense_of(IMAGES, np.ones((2, 4, 6, 3))),
        ["x1", "x2", "5 and 6 positions along axis 2", "must agree"],
    ),
    "rank of x1 and x2": (dense_of(X, IMAGES), ["x1", "x2", "(2, 3)", "(2, 4, 5, 3)"]),
    "empty batch": (dense_of(np.ones((0, 3))), ["x1", "(0, 3)", "empty", "at least one example"]),
    "empty second batch": (dense_of(X, np.ones((0, 3))), ["x2", "(0, 3)", "empty"]),
    "no position": (dense_of(np.ones((2, 0, 3))), ["x1", "(2, 0, 3)", "empty"]),
    "one example without a batch": (dense_of(np.ones(3)), ["x1", "(3,)", "x[None, :]"]),
    "NaN": (dense_of(X * np.nan), ["x1", "NaN", "drop or fill"]),
    "infinity": (dense_of(X, X * np.inf), ["x2", "infinite", "drop or fill"]),
    "list and array": (
        lambda: parallel(Dense(1), Dense(1)).kernel_fn([X, X], X),
        ["x1 is a list of 2 inputs", "x2 is an array of shape (2, 3)", "or None"],
    ),
    "array and list": (
        dense_of(X, [X]),
        ["x2 is a list of 1", "x1 is an array of shape (2, 3)", "both as lists or both as arrays"],
    ),
    "x2 for some inputs": (
        lambda: parallel(Dense(1), Dense(1)).kernel_fn([X, X], [X, None]),
        ["some inputs come with x2 and some without"],
    ),
    "unknown get": (dense_of(X, None, "kernel"), ["get='kernel'", "'nngp', 'ntk'", "None"]),
    "empty get": (dense_of(X, None, ()), ["get=()", "non-empty tuple"]),
    "mask of a kernel": (
        lambda: Dense(1).kernel_fn(Dense(1).kernel_fn(X), mask_constant=0.0),
        ["x1 is a Kernel without masks", "mask_constant", "set its mask1 and mask2"],
    ),
    "axes that disagree": (
        on_images(Conv(1, (2, 2), dimension_numbers=("NCHW", "OIHW", "NCHW")), GlobalAvgPool()),
        ["GlobalAvgPool at layer 1", "channel_axis=3", "channel_axis=1", "the same axes"],
    ),
    "axis out of range": (
        on_points(Dense(1, channel_axis=7)),
        ["Dense at layer 0", "channel_axis=7", "(2, 3)"],
    ),
    "batch as channels": (
        on_points(Dense(1, channel_axis=0)),
        ["Dense at layer 0", "the same axis", "(2, 3)", "two different ones"],
    ),
    "LayerNorm without channels": (
        on_images(Conv(1, (2, 2)), LayerNorm(1)),
        ["LayerNorm at layer 1", "axis=(1,)", "must hold the channel axis 3"],
    ),
    "LayerNorm over no axis of the input": (
        on_images(Conv(1, (2, 2)), LayerNorm((7, -1))),
        ["LayerNorm at layer 1", "axis=(7, -1)", "(2, 3, 4, 1)"],
    ),
    "kernel of equal positions alone": (
        lambda: GlobalAvgPool().kernel_fn(position_kernel()),
        ["kernel.cov1", "(2, 3, 4), holds equal positions alone", "without diagonal_spatial=True"],
    ),
    "kernel and x2": (dense_of(Dense(1).kernel_fn(X), X), ["x1 is a Kernel", "leave x2 out"]),
    "kernel as x2": (dense_of(X, Dense(1).kernel_fn(X)), ["x2 is a Kernel", "pass it as x1"]),
    "kernel without variances": (
        lambda: serial(Relu(), Dense(1)).kernel_fn(Dense(1).kernel_fn(X).replace(cov1=None)),
        ["kernel.cov1", "None came", "get=None"],
    ),
    "user's kernel_fn that returns an array": (
        on_points(Dense(1), custom(lambda kernel: kernel.nngp)),
        ["custom layer at layer 1", "not a Kernel", "kernel.replace(...)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(KERNELS))
def test_kernel_fn_teaches(name):
    call, phrases = KERNELS[name]
    with pytest.raises(ValueError) as caught:
        call()
    assert [phrase for phrase in phrases if phrase not in str(caught.value)] == [], caught.value


WRONG_TYPES = {
    "complex": (dense_of(X * 1j), ["x1", "complex128", "real numbers", "real and imaginary parts"]),
    "string": (dense_of(X, np.array([["a"]])), ["x2", "<U1", "expected real numbers"]),
    "nothing": (dense_of(None), ["x1", "object", "expected real numbers"]),
    "get of a number": (dense_of(X, None, 3), ["get must be a string", "'nngp', 'ntk'", "3"]),
    "unknown keyword": (
        dense_of(X, None, "ntk", W_std=2.0),
        ["'W_std'", "it takes x1, x2, get", "where the layer is made"],
    ),
    "forgotten call": (
        lambda: serial(Dense(1), Relu),
        ["serial: layer 1", "Relu", "triple", "mind to call the layer"],
    ),
    "forgotten call in parallel": (lambda: parallel(Relu), ["parallel: layer 0", "triple"]),
    "forgotten call in repeat": (lambda: repeat(Relu, 2), ["repeat: layer 0", "triple"]),
    "list of layers": (lambda: serial([Dense(1)]), ["serial: layer 0", "serial(*layers)"]),
    "number for a layer": (lambda: serial(Dense(1), 3), ["serial: layer 1 is 3", "triple"]),
    "W_std of text": (lambda: Dense(1, W_std="2"), ["Dense: W_std='2'", "real number"]),
    "W_std of nothing": (lambda: Conv(1, (3,), W_std=None), ["Conv: W_std=None", "real number"]),
}


@pytest.mark.parametrize("name", list(WRONG_TYPES))
def test_wrong_type(name):
    call, phrases = WRONG_TYPES[name]
    with pytest.raises(TypeError) as caught:
        call()
    assert [phrase for phrase in phrases if phrase not in str(caught.value)] == [], caught.value


ARGUMENTS = {
    "padding": (lambda: Conv(1, (3,), padding="FULL"), ["Conv: padding='FULL'", "'CIRCULAR'"]),
    "padding of a pool": (lambda: AvgPool((3,), padding=3), ["AvgPool: padding=3", "'SAME'"]),
    "too few strides": (lambda: Conv(1, (3, 3), (1,)), ["Conv: strides=(1,)", "expected 2"]),
    "stride of zero": (lambda: Conv(1, (3, 3), (1, 0)), ["Conv: strides[1]=0", "positive integer"]),
    "one stride for all": (lambda: Conv(1, (3, 3), 2), ["strides=2", "such as strides=(3, 3)"]),
    "one size for all": (lambda: Conv(1, 3), ["filter_shape=3", "filter_shape=(3, 3)"]),
    "fractional stride": (lambda: AvgPool((2,), (0.5,)), ["AvgPool: strides[0]=0.5", "integer"]),
    "no width": (lambda: Dense(0), ["Dense: out_dim=0", "positive integer"]),
    "W_std of NaN": (lambda: Dense(1, W_std=np.nan), ["Dense: W_std=nan", "finite"]),
    "W_std of a vector": (lambda: Dense(1, W_std=jnp.ones(3)), ["Dense: W_std", "(3,)", "scalar"]),
    "parameterization": (
        lambda: Dense(1, parameterization="mup"),
        ["Dense: parameterization='mup'", "['ntk', 'standard']"],
    ),
    "one width scaling": (lambda: Dense(1, s=2), ["Dense: s=2", "two width scalings"]),
    "dimension numbers that transpose": (
        lambda: Conv(1, (3, 3), dimension_numbers=("NHWC", "HWIO", "NCHW")),
        ["Conv: dimension_numbers", "transpose", "here 'NHWC'"],
    ),
    "dimension numbers of another rank": (
        lambda: Conv(1, (3, 3), dimension_numbers=("NHC", "HIO", "NHC")),
        ["Conv: dimension_numbers", "('NHWC', 'HWIO', 'NHWC')"],
    ),
    "eps": (lambda: LayerNorm(eps=-1.0), ["LayerNorm: eps=-1.0", "at least 0"]),
    "batch_axis_out": (lambda: Flatten(batch_axis_out=3), ["Flatten: batch_axis_out=3", "0 or 1"]),
    "no copies": (lambda: repeat(Dense(1), -1), ["repeat: n=-1", "integer from 0"]),
    "no branches": (lambda: FanOut(0), ["FanOut: num=0", "positive integer"]),
}


@pytest.mark.parametrize("name", list(ARGUMENTS))
def test_argument_of_a_layer(name):
    call, phrases = ARGUMENTS[name]
    with pytest.raises(ValueError) as caught:
        call()
    assert [phrase for phrase in phrases if phrase not in str(caught.value)] == [], caught.value


def init(layer, shape):
    return lambda: layer.init_fn(KEY, shape)


def apply(layer, shape, inputs):
    return lambda: layer.apply_fn(layer.init_fn(KEY, shape)[1], inputs)


FINITE = {
    "convolution of points": (init(Conv(4, (3, 3)), (2, 3)), ["Conv", "(2, 3)", "asks for 4"]),
    "convolution of other points": (
        apply(Conv(4, (3, 3)), (2, 5, 5, 3), X),
        ["Conv", "(2, 3)", "asks for 4", "one entry for each spatial axis"],
    ),
    "convolution of other channels": (
        apply(Conv(4, (3, 3)), (2, 5, 5, 3), np.ones((2, 5, 5, 4))),
        ["Conv", "has 4 channels", "drawn for 3", "call init_fn"],
    ),
    "convolution of small images": (
        init(Conv(4, (3, 3)), (2, 2, 5, 3)),
        ["Conv", "(2, 5)", "padding='SAME' or a smaller window"],
    ),
    "convolution of smaller images": (
        apply(Conv(4, (3, 3)), (2, 5, 5, 3), np.ones((2, 2, 2, 3))),
        ["Conv", "(2, 2)", "padding='SAME' or a smaller window"],
    ),
    "Dense of other channels": (
        apply(Dense(4), (2, 5), X),
        ["Dense", "(2, 3)", "has 3 channels", "drawn for 5", "call init_fn"],
    ),
    "Dense of no such axis": (
        init(Dense(4, channel_axis=3), (2, 3)),
        ["Dense: channel_axis=3", "(2, 3)"],
    ),
    "Dense of branches": (
        init(serial(FanOut(2), Dense(4)), (2, 3)),
        ["Dense: input_shape=[(2, 3), (2, 3)]", "FanInSum to join them"],
    ),
    "Relu of branches": (
        lambda: Relu().apply_fn((), [X, X]),
        ["Relu", "a list of 2 inputs came", "FanInSum to join them"],
    ),
    "pool of points": (init(AvgPool((2, 2)), (2, 3)), ["AvgPool", "(2, 3)", "asks for 4"]),
    "pool of small images": (init(AvgPool((5, 5)), (2, 3, 3, 3)), ["AvgPool", "smaller window"]),
    "global pool of no such axis": (
        init(GlobalAvgPool(channel_axis=3), (2, 3)),
        ["GlobalAvgPool: channel_axis=3", "(2, 3)"],
    ),
    "sum that would broadcast": (
        lambda: FanInSum().apply_fn((), [X, X[:, :1]]),
        ["FanInSum", "[(2, 3), (2, 1)]", "equal shapes"],
    ),
    "sum of one array": (
        lambda: FanInSum().apply_fn((), X),
        ["FanInSum", "an array of shape (2, 3)", "put FanOut and parallel before it"],
    ),
    "sum of one shape": (init(FanInSum(), (2, 3)), ["FanInSum", "(2, 3)", "put FanOut"]),
    "sum of other shapes": (
        init(branches(Dense(3), Dense(4)), (2, 3)),
        ["FanInSum", "[(2, 3), (2, 4)]", "the same channels"],
    ),
    "parallel of one shape": (
        init(parallel(Dense(1), Dense(1)), (2, 3)),
        ["parallel", "2 branches", "a single one", "FanOut(2)"],
    ),
    "parallel of one array": (
        lambda: parallel(Relu(), Relu()).apply_fn([(), ()], X),
        ["parallel", "2 branches", "a single one", "FanOut(2)"],
    ),
    "parameters of another network": (
        lambda: serial(Relu(), Relu()).apply_fn([()], X),
        ["serial: has 2 layers", "1 came", "init_fn"],
    ),
}


@pytest.mark.parametrize("name", list(FINITE))
def test_finite_network_teaches(name):
    call, phrases = FINITE[name]
    with pytest.raises(ValueError) as caught:
        call()
    assert [phrase for phrase in phrases if phrase not in str(caught.value)] == [], caught.value


@pytest.mark.parametrize("dtype", [int, bool, np.uint8, np.float16], ids=str)
def test_other_numbers_are_converted(dtype):
    x = np.array([[1, 0, 1], [0, 1, 1]])
    actual = Dense(1).kernel_fn(x.astype(dtype), None, "nngp")
    assert actual.dtype == (jnp.float32 if dtype == np.float16 else jnp.float64)
    np.testing.assert_allclose(actual, x @ x.T / 3, rtol=1e-6)


def test_wide_numbers_without_x64_warn():
    code = """
import warnings, numpy as np
from ntkjax import stax
x = np.ones((2, 3))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    kernel = stax.Dense(1).kernel_fn(x, x, "nngp")
    texts = [str(w.message) for w in caught]
    stax.Dense(1).kernel_fn(x.astype(np.float32), np.ones((2, 3), int), "nngp")
    assert len(caught) == len(texts), "nothing is lost in float32 or integers"
assert kernel.dtype == np.float32
for name, text in zip(("x1", "x2"), texts, strict=True):
    assert f"{name} has dtype float64" in text and "float32" in text, text
    assert "jax_enable_x64" in text
"""
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "JAX_ENABLE_X64": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
