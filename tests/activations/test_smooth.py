"""Layers without a closed form, against integrals that share nothing with theirs."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from ntkjax import dual, stax
from ntkjax._activations.scalar_function import ScalarFunction
from tests.activations.test_quadrature import integral
from tests.contract.expectations_smooth import FUNCTIONS
from tests.helpers import fast_jit

#: Where functions bend, on all scales.
BENDS = [s * t for t in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0) for s in (-1, 1)] + [0.0]
SIZES = (2.0**-14, 1.0, 2.0**14)
#: Parallel and opposite ones, whose integral has one dimension, and a few others.
PAIRS = np.array(
    [(v1, v2, sign) for v1 in SIZES for v2 in SIZES for sign in (1.0, -1.0)]
    + [(2.0**14, 2.0**14, 0.999), (1.0, 2.0**14, 0.5), (4.0, 2.0, -0.9)]
)
#: As many, all within the reach of the expansions.
NEAR = np.array(
    [
        (v1, v2, sign)
        for v1 in (2.0**-14, 1.0, 16.0)
        for v2 in (2.0**-14, 1.0, 16.0)
        for sign in (1.0, -1.0)
    ]
    + [(16.0, 16.0, 0.999), (1.0, 0.01, 0.5), (4.0, 2.0, -0.9)]
)


def sizes_of(of, pairs):
    """The roots of E f(u)^2 E f(v)^2."""
    single = {v: integral(of, BENDS, v, v, 1.0) for v in np.unique(pairs[:, :2])}
    return np.array([np.sqrt(single[v1] * single[v2]) for v1, v2, _ in pairs])


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_errors_over_all_sizes(name):
    made = dual(getattr(stax, name)())
    for pairs in (PAIRS, NEAR):
        check_errors(made, FUNCTIONS[name], pairs)


def check_errors(made, functions, pairs):
    """Those of E f f and E f' f', against the other integral."""
    v1, v2, cosine = pairs.T
    arguments = cosine * np.sqrt(v1 * v2), v1, v2
    double, single = made(*arguments), made(*(a.astype(np.float32) for a in arguments))
    for i, of in enumerate(functions):
        wanted = np.array([integral(of, BENDS, *pair) for pair in pairs])
        size = sizes_of(of, pairs)
        assert np.max(np.abs(np.asarray(double[i]) - wanted) / size) < 1e-12
        assert single[i].dtype == jnp.float32
        assert np.max(np.abs(np.asarray(single[i]) - wanted) / size) < 1e-5


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - {"HardTanh"}))
def test_layers_have_an_expansion_of_few_numbers(name):
    """Or they would take a thousand times as long."""
    function = dual(getattr(stax, name)())._activation.function
    for dtype, most in ((np.float32, 2**13), (np.float64, 2**16)):
        found = function.expansion(name, dtype)
        assert found.reach >= 4
        assert found.least == 0
        assert found.pairs[:, 0].size < most


def test_functions_without_an_expansion():
    """A kink that is not at zero, and a bend that is too sharp for the polynomials."""
    for f in (lambda x: jnp.abs(x - 0.5) * x, lambda x: jnp.tanh(40 * x)):
        assert ScalarFunction(f).expansion("test", np.float32) is None


def test_lines_are_found():
    lines = ScalarFunction(lambda x: jnp.clip(2 * x, -1.0, 3.0)).lines("test", np.float32)
    np.testing.assert_allclose(lines.kinks, (-0.5, 1.5), atol=1e-13)
    np.testing.assert_allclose(lines.intercepts, (-1, 0, 3), atol=1e-13)
    np.testing.assert_allclose(lines.slopes, (0, 2, 0), atol=1e-13)
    for f in (jax.nn.elu, jnp.tanh):
        assert ScalarFunction(f).lines("test", np.float32) is None


def test_the_other_integral_is_that_of_many_digits():
    """The reference itself, at the two ends of the range of variances."""
    with mpmath.workdps(30):
        for v in SIZES:
            r = mpmath.sqrt(mpmath.mpf(v))
            ends = [b / r for b in sorted(BENDS)]
            value = mpmath.quad(
                lambda x, r=r: mpmath.tanh(r * x) ** 2 * mpmath.npdf(x), [-12, *ends, 12]
            )
            found = integral(np.tanh, BENDS, v, v, 1.0)
            assert abs(found / float(value) - 1) < 1e-13


@pytest.mark.parametrize("name", ["Tanh", "Selu"])
def test_derivatives_are_finite_at_corners(name):
    f = stax.serial(stax.Dense(2, 1.3), getattr(stax, name)(), stax.Dense(1))
    x = np.random.default_rng(0).normal(size=(2, 3))
    x = np.concatenate([x, x[:1], -x[:1], 0 * x[:1]])

    def number(x):
        kernel = f.kernel_fn(x, None, ("nngp", "ntk"))
        return jnp.sum(kernel.nngp) + jnp.sum(kernel.ntk)

    assert np.all(np.isfinite(fast_jit(jax.grad(number))(x)))
    along = fast_jit(lambda x, t: jax.jvp(jax.grad(number), (x,), (t,))[1])
    assert np.all(np.isfinite(along(x, np.ones_like(x))))


def test_elu_of_a_traced_number_is_refused():
    with pytest.raises(TypeError, match=r"alpha is traced.*outside of jax.jit"):
        jax.jit(lambda a: stax.Elu(a).apply_fn((), jnp.ones((1, 1))))(1.0)
    with pytest.raises(ValueError, match="alpha=inf"):
        stax.Elu(np.inf)
