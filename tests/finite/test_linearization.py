"""Linearised networks and Taylor series, against polynomials and training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax as nt

RNG = np.random.default_rng(0)
PARAMS = (RNG.normal(size=(3, 8)), RNG.normal(size=(8, 2)))
MOVED = tuple(p + 0.1 * RNG.normal(size=p.shape) for p in PARAMS)
X = RNG.normal(size=(5, 3))


def network(params, x, factor=1.0):
    return factor * jnp.tanh(x @ params[0]) @ params[1]


def along(s):
    return tuple(p + s * (q - p) for p, q in zip(PARAMS, MOVED, strict=True))


def test_a_linear_network_is_the_value_and_the_slope():
    step = 1e-5
    slope = (network(along(step), X) - network(along(-step), X)) / (2 * step)
    found = nt.linearize(network, PARAMS)(MOVED, X)
    np.testing.assert_allclose(found, network(PARAMS, X) + slope, rtol=1e-8)


@pytest.mark.parametrize("degree", range(5))
def test_the_error_of_a_series_is_of_the_next_order(degree):
    series = nt.taylor_expand(network, PARAMS, degree)
    errors = [
        float(jnp.max(jnp.abs(series(along(s), X) - network(along(s), X)))) for s in (0.2, 0.1)
    ]
    assert errors[0] / errors[1] == pytest.approx(2 ** (degree + 1), rel=0.2)


def test_a_series_of_a_polynomial_is_the_polynomial():
    def cubic(params, x):
        return {"cube": x * params["a"] ** 3, "line": params["b"] + x}

    start, moved = {"a": 1.0, "b": 2.0}, {"a": -2.0, "b": 0.5}
    found = nt.taylor_expand(cubic, start, 3)(moved, 2.0)
    assert jax.tree.map(float, found) == pytest.approx({"cube": -16.0, "line": 2.5})


def test_keywords_integers_and_transformations_pass_through():
    def counted(params, x, factor=1.0):
        return factor * params["w"] * x ** params["power"]

    f = nt.linearize(counted, {"w": jnp.array(2.0), "power": 2})
    loss = jax.jit(jax.grad(lambda w: f({"w": w, "power": 2}, 3.0, factor=2.0)))
    assert float(loss(jnp.array(5.0))) == 18.0


def test_gradient_flow_of_a_linear_network_is_kernel_regression():
    """Small steps of gradient descent, against `gradient_descent_mse` with the empirical NTK."""
    y, steps, rate = RNG.normal(size=(5, 2)), 2000, 0.01
    f = nt.linearize(network, PARAMS)
    slope = jax.grad(lambda p: jnp.mean((f(p, X) - y) ** 2) / 2)

    def step(_, params):
        return jax.tree.map(lambda p, g: p - rate * g, params, slope(params))

    trained = jax.lax.fori_loop(0, steps, step, jax.tree.map(jnp.asarray, PARAMS))
    kernel = nt.empirical_ntk_fn(network, trace_axes=())(X, None, PARAMS)
    predict_fn = nt.predict.gradient_descent_mse(kernel, y, rate, trace_axes=())
    outputs = predict_fn(float(steps), network(PARAMS, X))
    np.testing.assert_allclose(outputs, f(trained, X), atol=2e-3)


@pytest.mark.parametrize(
    ("make", "error", "phrases"),
    [
        (lambda: nt.linearize(1, PARAMS), TypeError, ["linearize: f must be callable"]),
        (lambda: nt.taylor_expand(network, PARAMS, 1.5), TypeError, ["degree", "1.5"]),
        (lambda: nt.taylor_expand(network, PARAMS, -1), ValueError, ["at least 0", "-1"]),
        (lambda: nt.linearize(network, PARAMS)(PARAMS[:1], X), ValueError, ["structure"]),
        (
            lambda: nt.linearize(network, PARAMS)((PARAMS[0], PARAMS[1][:, :1]), X),
            ValueError,
            ["(8, 1)", "(8, 2)", "same network"],
        ),
    ],
)
def test_errors(make, error, phrases):
    with pytest.raises(error) as caught:
        make()
    assert all(phrase in str(caught.value) for phrase in phrases)
