"""Solves say how they went: what was added, how near to singular the matrix is, what would do."""

import pickle
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkjax._inference.posterior import _conditioned
from ntkjax._solve import host
from ntkjax._solve.factor import factor_solve, factorized
from ntkjax._solve.host import host_cholesky
from ntkjax._solve.refinement import _loop
from ntkjax._solve.regularizer import Regularizer
from ntkjax._solve.report import extreme_eigenvalues
from ntkjax.predict import NotPositiveDefiniteError, gp_inference, solve

RNG = np.random.default_rng(0)
ROTATION = np.linalg.qr(RNG.normal(size=(12, 12)))[0]
B = RNG.normal(size=(12, 2))


#: The last vector is constant, so that an eigenvalue of it is spread over the whole diagonal.
CENTRED = np.linalg.qr(np.c_[np.ones(12), RNG.normal(size=(12, 11))])[0][:, ::-1]


def with_eigenvalues(values, vectors=ROTATION):
    """A symmetric matrix of these eigenvalues."""
    matrix = vectors @ np.diag(values) @ vectors.T
    return (matrix + matrix.T) / 2


#: A matrix, and the method that a solve with it takes.
MATRICES = {
    "definite": (with_eigenvalues(np.geomspace(1e-3, 10, 12)), "cholesky"),
    "ill-conditioned": (with_eigenvalues(np.geomspace(1e-11, 10, 12)), "cholesky"),
    "equal points": (np.kron(np.eye(6) + 1, np.ones((2, 2))), "jitter"),
    "of rank one": (np.ones((12, 12)), "jitter"),
    "negative by rounding": (
        with_eigenvalues([*np.ones(10) / 9, -1e-13, 12], CENTRED),
        "eigendecomposition",
    ),
}


@pytest.mark.parametrize("name", list(MATRICES))
def test_the_report_says_how_it_went(name):
    matrix, method = MATRICES[name]
    x, report = solve(matrix, B)
    assert report.method == method
    assert np.isfinite(x).all()
    values = np.linalg.eigvalsh(matrix)
    np.testing.assert_allclose(report.largest_eigenvalue, values[-1], rtol=1e-6)
    rounding = 1e-14 * values[-1]
    np.testing.assert_allclose(report.smallest_eigenvalue, values[0], rtol=0.01, atol=rounding)
    assert (report.jitter > 0) == (method != "cholesky")
    assert report.jitter < 1e-12
    added = values + float(report.jitter)
    if method == "cholesky":
        np.testing.assert_allclose(report.condition_number, added[-1] / added[0], rtol=0.01)
        error = 1e-14 * max(1, values[-1]) * np.max(np.abs(x))
        np.testing.assert_allclose(matrix @ x, B, atol=error)
    else:
        assert 1e11 < report.condition_number < 1e17
        # What lies within the range of the matrix is met.
        right = matrix @ B
        np.testing.assert_allclose(matrix @ solve(matrix, right).x, right, atol=1e-10)
    assert str(report).startswith(method)


def test_under_jit_the_same_through_values():
    """One program for all of them, the indefinite one included."""
    run = jax.jit(solve)
    for name, (matrix, method) in MATRICES.items():
        x, report = run(matrix, B)
        exact = solve(matrix, B)
        assert report.method == method, name
        np.testing.assert_allclose(report.jitter, exact.report.jitter, rtol=0.1)
        if method == "cholesky":
            np.testing.assert_allclose(x, exact.x, rtol=1e-6)
        assert np.isfinite(x).all()
        assert all(np.isfinite(leaf) for leaf in report)
    _, report = run(with_eigenvalues([-0.5, *np.ones(11)]), B)
    assert report.method == "eigendecomposition"
    np.testing.assert_allclose(report.smallest_eigenvalue, -0.5)
    np.testing.assert_allclose(report.jitter, 0.5, rtol=1e-6)
    # What has no finite diagonal has no factor; the program must end all the same.
    run(1e10 * np.eye(12), B, 1e300)


def test_an_indefinite_matrix_is_an_error_that_names_all():
    matrix = with_eigenvalues([-0.25, *np.ones(11)])
    with pytest.raises(NotPositiveDefiniteError, match=r"smallest eigenvalue is -0\.25") as caught:
        solve(matrix, B, 0.0, True)
    error = pickle.loads(pickle.dumps(caught.value))
    np.testing.assert_allclose(error.smallest_eigenvalue, -0.25)
    np.testing.assert_allclose(error.condition_number, 4.0)
    assert 0 < error.jitter < 1e-12
    assert 0.25 <= error.diag_reg < 0.3
    assert f"diag_reg={error.diag_reg:.1e} would do" in str(error)
    assert f"{error.jitter:.2g} on its diagonal was not enough" in str(error)
    assert solve(matrix, B, error.diag_reg, True).report.method != "eigendecomposition"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_factor_made_on_the_host_is_that_of_lapack(dtype):
    """In one block, and in several, the last of them smaller; with a shift, or one for each row."""
    for n in (1, 12, 300):
        x = np.random.default_rng(n).normal(size=(n, n + 3)).astype(dtype)
        matrix = jnp.asarray(x @ x.T)
        for shift in (0.5, np.linspace(0.1, 1, n)):
            upper = host_cholesky(matrix, jnp.asarray(shift, dtype))
            want = np.linalg.cholesky(np.asarray(matrix, np.float64) + np.diag(np.zeros(n) + shift))
            scale = 300 * np.finfo(dtype).eps * np.max(want)
            np.testing.assert_allclose(upper, want.T, atol=scale)
            assert upper.dtype == dtype
            assert not np.any(np.tril(upper, -1))
    indefinite = jnp.asarray(np.diag(np.r_[np.ones(199), -1]).astype(dtype))
    assert host_cholesky(indefinite, jnp.zeros((), dtype)) is None


stays_in_place = pytest.mark.skipif(
    jax.__version_info__ < (0, 10, 2), reason="earlier, XLA copies a factor that a loop reads"
)


def _temporary(program, *arguments):
    """The bytes that a compiled program takes beside its arguments and results."""
    return program.lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def _of_xla(upper, right):
    """Those of XLA's own triangular solve, which copies the triangle from JAX 0.12 on."""
    program = jax.jit(lambda u, b: jax.scipy.linalg.solve_triangular(u.T, b, lower=True))
    return _temporary(program, upper, right)


@stays_in_place
def test_a_solve_holds_the_matrix_its_factor_and_little_else(monkeypatch):
    """What NumPy allocates for a factor, which JAX takes as it is, and what solves copy."""
    n, made, zeros = 1500, [], host._zeros
    matrix = jnp.asarray(np.eye(n) + 1 / n)

    def recorded(*arguments):
        made.append(zeros(*arguments))
        return made[-1]

    monkeypatch.setattr(host, "_zeros", recorded)
    tracemalloc.start()
    factor = factorized(matrix, "matrix", Regularizer("", 0.0, False), mends=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * matrix.nbytes
    assert np.shares_memory(np.asarray(factor.upper), made[0])
    right, noise = jnp.ones((n, 1)), jnp.ones(n)
    programs = {
        "solve": (factor_solve, (factor.upper, right)),
        "report": (extreme_eigenvalues, (factor.upper,)),
        "covariance": (_conditioned, (factor.upper, jnp.ones((30, n)), jnp.ones((30, 30)))),
        "refinement": (_loop, (matrix, noise, factor.upper, jnp.array(True), right)),
    }
    least = _of_xla(factor.upper, right)
    for name, (program, arguments) in programs.items():
        assert _temporary(program, *arguments) < least + 0.2 * matrix.nbytes, name


@stays_in_place
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_program_of_a_solve_copies_a_large_factor(dtype):
    """XLA copies what it transposes only from some size on, at which nothing is computed here."""
    n = 7000
    upper, right = (jax.ShapeDtypeStruct(shape, dtype) for shape in ((n, n), (n, 1)))
    for program, arguments in ((factor_solve, (upper, right)), (extreme_eigenvalues, (upper,))):
        least = _of_xla(upper, right)
        assert _temporary(program, *arguments) < least + 0.05 * n * n * upper.dtype.itemsize


def test_refinement_restores_the_digits_of_float32():
    """Of more points than a block on the host has, whose factor is rounded from float64."""
    rng = np.random.default_rng(3)
    vectors = np.linalg.qr(rng.normal(size=(150, 150)))[0]
    matrix = with_eigenvalues(np.geomspace(1e-4, 10, 150), vectors).astype(np.float32)
    right = rng.normal(size=(150, 2)).astype(np.float32)
    exact = np.linalg.solve(matrix.astype(np.float64), right.astype(np.float64))
    factor = factorized(jnp.asarray(matrix), "matrix", Regularizer("", 0.0, True), mends=False)

    def error(x):
        return np.max(np.abs(np.asarray(x) - exact)) / np.max(np.abs(exact))

    assert error(factor.solve(right)) > 1e-5
    for fn in (solve, jax.jit(solve)):
        x = fn(matrix, right).x
        assert x.dtype == np.float32
        assert error(x) < 1e-7
    # The posterior mean takes the same solve.
    mean = gp_inference(matrix, right, 0.0)("nngp", np.eye(150, dtype=np.float32))
    assert error(mean) < 1e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_are_those_of_the_solution(dtype):
    matrix = with_eigenvalues(np.geomspace(0.1, 10, 12)).astype(dtype)

    def fn(matrix, right):
        return jnp.sum(solve((matrix + matrix.T) / 2, right).x ** 2)

    got = jax.grad(fn, (0, 1))(matrix, B.astype(dtype))
    inverse = np.linalg.inv(matrix.astype(np.float64))
    x = inverse @ B
    by_right = 2 * inverse @ x
    by_matrix = -by_right @ x.T
    tolerance = {"rtol": 1e-3, "atol": 1e-2} if dtype == np.float32 else {"rtol": 1e-9}
    np.testing.assert_allclose(got[1], by_right, **tolerance)
    np.testing.assert_allclose(got[0], (by_matrix + by_matrix.T) / 2, **tolerance)


def test_the_factor_has_derivatives_where_it_is_mended():
    """Equal points at the start of a fit must not end it."""
    matrix = MATRICES["equal points"][0]

    def fn(scale):
        factor = factorized(scale * matrix, "matrix", Regularizer("", 0.0, True), mends=True)
        return factor.log_det()

    value, slope = jax.jit(jax.value_and_grad(fn))(1.0)
    assert np.isfinite(value)
    assert np.isfinite(slope)
    # Of a definite matrix, n log(scale) is what changes.
    matrix = MATRICES["definite"][0]
    np.testing.assert_allclose(jax.grad(fn)(2.0), 12 / 2.0, rtol=1e-8)


def test_a_prediction_reports_its_solve():
    matrix, cross = MATRICES["definite"][0], np.ones((1, 12))
    predict_fn = gp_inference(matrix, B, 0.1, True)
    predict_fn("nngp", cross)
    report = predict_fn.report("nngp")
    np.testing.assert_allclose(report.smallest_eigenvalue, 1e-3 + 0.1, rtol=0.01)
    assert predict_fn.report("ntkgp").method == "cholesky"

    def traced(matrix):
        predict_fn = gp_inference(matrix, B)
        return predict_fn("nngp", cross), predict_fn.report("nngp")

    mean, report = jax.jit(traced)(MATRICES["equal points"][0])
    assert np.isfinite(mean).all()
    assert report.method == "jitter"


#: Arguments that are none, and what the error says.
WRONG = {
    "no square": ((np.ones((2, 3)), np.ones(2)), "matrix has shape \\(2, 3\\), expected"),
    "empty": ((np.ones((0, 0)), np.ones(0)), "matrix has shape \\(0, 0\\)"),
    "rows": ((np.eye(2), np.ones(3)), "right has shape \\(3,\\), expected"),
    "asymmetric": ((np.array([[1.0, 0.5], [0.0, 1.0]]), np.ones(2)), "matrix must be symmetric"),
    "NaN in matrix": ((np.full((2, 2), np.nan), np.ones(2)), "matrix must be finite"),
    "NaN in right": ((np.eye(2), np.full(2, np.inf)), "right must be finite"),
    "zero": ((np.zeros((2, 2)), np.ones(2)), "its largest 0"),
    "overflow": ((np.eye(2) * 1e-200, np.full(2, 1e200)), "so small beside the targets"),
    "infinite": ((1e10 * np.eye(2), np.ones(2), 1e300), "diag_reg=1e\\+300 overflows float64"),
    "negative": ((np.eye(2), np.ones(2), -1.0), "diag_reg must be finite and at least 0"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_a_wrong_argument_is_named(name):
    arguments, phrase = WRONG[name]
    with pytest.raises(ValueError, match=phrase):
        solve(*arguments)


def test_the_type_of_a_flag_is_checked():
    with pytest.raises(TypeError, match="diag_reg_absolute_scale is 'no', expected True or False"):
        solve(np.eye(2), np.ones(2), 0.0, "no")
