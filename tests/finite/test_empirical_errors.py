"""Bad input to empirical kernels is named, with what came and what to do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._finite import empirical_kernel_fn, empirical_nngp_fn, empirical_ntk_fn


def linear(params, x):
    return x @ params


X1, X2, PARAMS = np.ones((3, 2)), np.ones((4, 2)), np.ones((2, 5))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"trace_axes": (2,)}, r"trace_axes must name axes of an output of shape \(3, 5\), got"),
        ({"diagonal_axes": -3}, "diagonal_axes must name axes"),
        ({"trace_axes": ("a",)}, "trace_axes must name axes"),
        ({"diagonal_axes": (1,)}, r"must not share an axis, got axis 1 in both"),
        (
            {"trace_axes": (), "diagonal_axes": (0,)},
            r"shapes \(3, 5\) and \(4, 5\), which differ on",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_axes(options, match, kind):
    with pytest.raises(ValueError, match=match):
        empirical_kernel_fn(linear, **options)(X1, X2, kind, PARAMS)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"implementation": 4}, r"implementation must be one of 0 \(AUTO\), .*got 4"),
        ({"vmap_axes": (0, 0)}, "vmap_axes must be None, an axis, or a triple"),
        ({"vmap_axes": "0"}, "vmap_axes must be None, an axis, or a triple"),
        ({"vmap_axes": (0, 2, {})}, "vmap_axes names axis 2 of f.x., which has 2 axes"),
    ],
)
def test_options_of_the_ntk(options, match):
    with pytest.raises(ValueError, match=match):
        empirical_ntk_fn(linear, **options)(X1, X2, PARAMS)


def test_outputs_of_different_rank():
    def ragged(params, x):
        return x @ params if len(x) == 3 else (x @ params)[0]

    with pytest.raises(ValueError, match=r"same number of axes, got shapes \(3, 5\) and \(5,\)"):
        empirical_ntk_fn(ragged)(X1, X2, PARAMS)


@pytest.mark.parametrize("make", [empirical_nngp_fn, empirical_ntk_fn, empirical_kernel_fn])
def test_f_that_is_no_function(make):
    with pytest.raises(TypeError, match="f must be callable, got tuple: pass apply_fn"):
        make((linear,))


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_outputs_that_are_no_real_floats(kind):
    def labels(params, x):
        return jnp.argmax(x @ params, axis=-1)

    def waves(params, x):
        return jax.lax.complex(x @ params, x @ params)

    for f in (labels, waves):
        with pytest.raises(TypeError, match="f must return arrays of real floats, got"):
            empirical_kernel_fn(f, trace_axes=())(X1, X2, kind, PARAMS)


@pytest.mark.parametrize("kind", ["nngp", "ntk"])
def test_empty_batch(kind):
    with pytest.raises(ValueError, match=r"must return a non-empty array, got shape \(0, 5\)"):
        empirical_kernel_fn(linear)(X1[:0], None, kind, PARAMS)


def test_parameters_without_floats():
    with pytest.raises(
        TypeError, match=r"params must hold arrays of floats.*order \(x1, x2, params"
    ):
        empirical_ntk_fn(lambda params, x: x)(X1, X2, ())
    with pytest.raises(TypeError, match="params must be real, got complex leaves"):
        empirical_ntk_fn(linear)(X1, X2, PARAMS * 1j)


def test_get():
    kernel_fn = empirical_kernel_fn(linear)
    with pytest.raises(ValueError, match=r"get must name one or more of \('nngp', 'ntk'\)"):
        kernel_fn(X1, X2, "ntkgp", PARAMS)
    with pytest.raises(TypeError, match="get must be a string"):
        kernel_fn(X1, X2, PARAMS, "ntk")


@pytest.mark.parametrize(
    ("axes", "keywords", "match"),
    [
        (({"left": 0}, 0, {}), {}, r"must be None, an axis, or a triple.*the axes of x must be"),
        (({"left": 0, "right": 0}, 0, {}), {}, r"one length.*got 3 .*\(3, 2\), 2 .*\(2, 3\)"),
        (({"left": 0, "right": 2}, 0, {}), {}, r"names axis 2 of x, which has an array of shape"),
        (({"left": 0, "right": 1}, [0], {}), {}, "the axes of f.x. must be an axis or a tree like"),
        (({"left": 0, "right": 1}, 1, {}), {}, r"names 3 examples of x, but axis 1 of f\(x\)"),
        (({"left": 0, "right": 1}, 0, {"z": 0}), {}, r"names the keyword 'z', but the call has"),
        ((None, 0, {}), {}, "names no axis of the inputs or keywords: pass vmap_axes=None"),
    ],
)
def test_axes_of_examples_that_do_not_fit(axes, keywords, match):
    def f(params, x):
        return x["left"] @ params + (x["right"].T @ params[:, :1]).sum() * 0 * params[:1]

    x = {"left": X1, "right": np.ones((2, 3))}
    with pytest.raises(ValueError, match=match):
        empirical_ntk_fn(f, trace_axes=(), vmap_axes=axes)(x, None, PARAMS, **keywords)
