"""Arguments of nonlinearities of a closed form, and what their errors say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax import stax
from tests.helpers import fast_jit

WRONG = {
    "negative gamma of Rbf": (lambda: stax.Rbf(-1.0), ValueError, "Rbf: gamma=-1, expected"),
    "negative gamma": (
        lambda: stax.ExpNormalized(-0.5),
        ValueError,
        "ExpNormalized: gamma=-0.5, expected",
    ),
    "clip that is no flag": (
        lambda: stax.ExpNormalized(do_clip="no"),
        TypeError,
        "ExpNormalized: do_clip='no'",
    ),
    "bell that opens upwards": (
        lambda: stax.Gaussian(1.0, 0.5),
        ValueError,
        "Gaussian: b=0.5, expected .* use b=-1",
    ),
    "infinite number": (lambda: stax.Sin(np.inf), ValueError, "Sin: a=inf, expected a finite"),
    "text": (lambda: stax.Exp("1"), TypeError, "Exp: a='1', expected a real number"),
    "negative degree": (
        lambda: stax.RectifiedMonomial(-1),
        ValueError,
        "RectifiedMonomial: degree=-1, expected an integer from 0 to 20",
    ),
    "half a degree": (lambda: stax.Monomial(1.5), ValueError, "Monomial: degree=1.5, expected"),
    "large degree": (lambda: stax.Hermite(21), ValueError, "Hermite: degree=21, expected"),
    "one coefficient": (
        lambda: stax.Polynomial(2.0),
        ValueError,
        "Polynomial: coef=2.0, expected a sequence",
    ),
    "coefficient that is no number": (
        lambda: stax.Polynomial([1.0, np.nan]),
        ValueError,
        r"Polynomial: coef\[1\]=nan, expected",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_errors_name_the_argument_and_what_is_expected(name):
    make, kind, message = WRONG[name]
    with pytest.raises(kind, match=message):
        make()


def test_exp_normalized_has_no_finite_network():
    init_fn, apply_fn, _ = stax.ExpNormalized()
    shape, params = init_fn(jax.random.key(0), (2, 3))
    assert shape == (2, 3)
    with pytest.raises(NotImplementedError, match=r"ExpNormalized: apply_fn .* no finite network"):
        apply_fn(params, jnp.ones((2, 3)))


def test_two_input_gaussians_in_a_row_are_refused():
    with pytest.raises(ValueError, match=r"Sin at layer 2.* not Gaussian"):
        stax.serial(stax.Dense(3), stax.Sin(), stax.Sin()).kernel_fn(np.ones((2, 3)))


def test_names_show_arguments_that_are_no_defaults():
    layers = [stax.Cos(), stax.Sin(2.0), stax.Rbf(0.5), stax.Polynomial([1, 2]), stax.Monomial(3)]
    shown = ["Cos()", "Sin(2, 1, 0)", "Rbf(0.5)", "Polynomial([1, 2])", "Monomial(3)"]
    assert [repr(layer) for layer in layers] == shown


SAME = {
    "Cos is a sine of another phase": (
        stax.Cos(1.2, 0.7, 0.4),
        stax.Sin(1.2, 0.7, 0.4 + np.pi / 2),
    ),
    "Rbf is a sine": (stax.Rbf(0.7), stax.Sin(2**0.5, 1.4**0.5, np.pi / 4)),
    "Sigmoid_like is an Erf": (stax.Sigmoid_like(), stax.Erf(0.5, 1 / 2.4020563531719796, 0.5)),
    "the first rectified power is a ReLU": (stax.RectifiedMonomial(1), stax.Relu()),
    "a polynomial of one power": (stax.Polynomial([0, 0, 0, 1]), stax.Monomial(3)),
    "trailing zeros": (stax.Polynomial([1, 2, 0]), stax.Polynomial([1, 2])),
    "a polynomial of degree one": (stax.Monomial(1), stax.Identity()),
}


@pytest.mark.parametrize("name", list(SAME))
def test_two_layers_are_the_same(name):
    one, two = SAME[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 3))
    x[3] = -x[0]
    networks = [stax.serial(stax.Dense(4, 1.2, 0.1), layer) for layer in (one, two)]
    kernels = fast_jit(lambda x: [network.kernel_fn(x) for network in networks])(x)
    for field in ("nngp", "ntk"):
        np.testing.assert_allclose(*(getattr(k, field) for k in kernels), rtol=1e-12, atol=1e-14)
    z = rng.normal(size=(5, 4))
    np.testing.assert_allclose(one.apply_fn((), z), two.apply_fn((), z), rtol=1e-12, atol=1e-14)


def test_numbers_may_be_traced():
    x = np.random.default_rng(0).normal(size=(3, 4))

    def total(numbers):
        a, b, c = numbers
        layers = [stax.Sin(a, b, c), stax.Gaussian(a, -b), stax.ExpNormalized(a, c)]
        parts = [
            jnp.sum(k)
            for layer in layers
            for k in stax.serial(stax.Dense(2), layer).kernel_fn(x, None, ("nngp", "ntk"))
        ]
        return sum(parts)

    numbers, step = jnp.array([0.7, 0.4, 0.2]), 1e-5
    program = fast_jit(jax.value_and_grad(total))
    _, gradient = program(numbers)
    for i in range(3):
        change = step * jnp.eye(3)[i]
        secant = (program(numbers + change)[0] - program(numbers - change)[0]) / (2 * step)
        np.testing.assert_allclose(gradient[i], secant, rtol=1e-7)


def test_kernels_beyond_the_range_are_infinite_and_not_nan():
    large = np.full((2, 3), 50.0, np.float32)
    large[1] = 40.0
    kernel_fn = stax.serial(stax.Dense(1), stax.Exp(), stax.Dense(1)).kernel_fn
    kernels = kernel_fn(np.concatenate([large, 0.1 * large]), None, ("nngp", "ntk"))
    for kernel in kernels:
        assert not np.any(np.isnan(kernel))
    assert np.all(np.isinf(kernels.nngp[:2, :2]))
