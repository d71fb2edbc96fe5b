"""What no network can take is refused by all empirical functions alike, before any work."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

import ntkjax as nt
from ntkjax import stax
from ntkjax._kernel import arrays

INIT, APPLY, _ = stax.serial(stax.Dense(4), stax.Relu(), stax.Dense(2))
X, KEY = np.random.default_rng(0).normal(size=(3, 5)), jax.random.key(0)
_, PARAMS = INIT(KEY, X.shape)
HOLED, ENDLESS = X.copy(), X.copy()
HOLED[1, 2], ENDLESS[0, 0] = np.nan, np.inf
MASKED = stax.unmask_fn(APPLY)


def product(x1, x2, params, **keywords):
    return nt.empirical_ntk_vp_fn(APPLY, x1, x2, params, **keywords)(np.ones((3, 2)))


def sampled(x1, x2, params, n_samples=2, apply_fn=APPLY, **keywords):
    return nt.monte_carlo_kernel_fn(INIT, apply_fn, KEY, n_samples)(x1, x2, "nngp", **keywords)


FUNCTIONS = {
    "nngp": nt.empirical_nngp_fn(APPLY),
    "ntk": nt.empirical_ntk_fn(APPLY, vmap_axes=0),
    "kernels": lambda x1, x2, params: nt.empirical_kernel_fn(APPLY)(x1, x2, None, params),
    "products": product,
    "batches": lambda x1, x2, p: nt.batch(nt.empirical_nngp_fn(APPLY), 2)(x1, x2, p),
    "networks": sampled,
    "networks, several times": lambda x1, x2, params: sampled(x1, x2, params, [1, 2]),
}
BAD = [
    (
        (HOLED, None),
        ValueError,
        r"x1 must be finite, got 1 NaN or infinite of \d+.*\(1, 2\)",
    ),
    ((X, ENDLESS), ValueError, r"x2 must be finite.*\(0, 0\); drop or fill"),
    ((np.ma.masked_array(X, X > 1), None), TypeError, "x1 is a masked array.*fill it first"),
    ((np.full((2, 5), "a"), None), TypeError, "x1 has dtype <U1, expected real numbers"),
]


@pytest.mark.parametrize("name", list(FUNCTIONS))
def test_inputs(name):
    for inputs, kind, message in BAD:
        with pytest.raises(kind, match=message):
            FUNCTIONS[name](*inputs, PARAMS)
    if name != "batches":
        with pytest.raises(TypeError, match="x1 is None, expected inputs of the network"):
            FUNCTIONS[name](None, None, PARAMS)
        with pytest.raises(TypeError, match=r"x1 is .*expected an array of real numbers"):
            FUNCTIONS[name]([[1.0, 2.0], [3.0]], None, PARAMS)
        with pytest.raises(TypeError, match=r"x1 is sparse.*toarray"):
            FUNCTIONS[name](scipy.sparse.eye(5), X, PARAMS)


def test_parameters():
    broken = [(PARAMS[0][0].at[0, 1].set(jnp.nan), None), *PARAMS[1:]]
    for name in ("nngp", "ntk", "kernels", "products"):
        with pytest.raises(ValueError, match=r"params\[0\]\[0\] must be finite.*\(0, 1\)"):
            FUNCTIONS[name](X, None, broken)
    for make in (nt.linearize, lambda f, params: nt.taylor_expand(f, params, 2)):
        with pytest.raises(ValueError, match=r": params\[0\]\[0\] must be finite.*\(0, 1\)"):
            make(APPLY, broken)
        with pytest.raises(ValueError, match=r": new_params\[0\]\[0\] must be finite"):
            make(APPLY, PARAMS)(broken, X)
        for wrong in (None, "a", jax.tree.map(jnp.int32, PARAMS)):
            with pytest.raises(TypeError, match=r": params must hold arrays of floats.*init_fn"):
                make(APPLY, wrong)
        with pytest.raises(TypeError, match=": params must be real"):
            make(APPLY, jax.tree.map(lambda a: a.astype(complex), PARAMS))


def test_parameters_that_the_host_does_not_hold_are_looked_at_together(monkeypatch):
    programs = []
    look = arrays._have_finite_entries
    monkeypatch.setattr(arrays, "is_on_host", lambda array: isinstance(array, np.ndarray))
    monkeypatch.setattr(arrays, "_have_finite_entries", lambda a: programs.append(a) or look(a))
    FUNCTIONS["nngp"](X, None, PARAMS)
    assert [len(looked_at) for looked_at in programs] == [2]
    broken = [PARAMS[0], PARAMS[1], (PARAMS[2][0].at[3, 1].set(jnp.inf), None)]
    with pytest.raises(ValueError, match=r"params\[2\]\[0\] must be finite.*\(3, 1\)"):
        FUNCTIONS["nngp"](X, None, broken)


def test_cotangents():
    multiplied = nt.empirical_ntk_vp_fn(APPLY, X, None, PARAMS)
    with pytest.raises(ValueError, match="cotangents must be finite"):
        multiplied(np.full((3, 2), np.nan))
    with pytest.raises(TypeError, match="cotangents has dtype complex128"):
        multiplied(np.ones((3, 2)) * 1j)
    np.testing.assert_array_equal(multiplied(np.ones((3, 2), int)), multiplied(np.ones((3, 2))))


def test_keys():
    for key in (0, None, np.zeros(2), jax.random.split(KEY)):
        with pytest.raises(TypeError, match=r"key is .*expected one random key of JAX"):
            nt.monte_carlo_kernel_fn(INIT, APPLY, key, 2)
    old = np.asarray(jax.random.PRNGKey(0))
    nt.monte_carlo_kernel_fn(INIT, APPLY, old, 2)


def test_masked_entries_may_be_anything():
    zeroed = np.where(np.isnan(HOLED), 0, HOLED)
    nngp_fn = nt.empirical_nngp_fn(MASKED)
    wanted = nngp_fn(zeroed, None, PARAMS)
    found = nngp_fn(HOLED, None, PARAMS, mask_constant=np.nan)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    array = stax.MaskedArray(jnp.asarray(HOLED), jnp.isnan(HOLED))
    np.testing.assert_allclose(nngp_fn(array, None, PARAMS), wanted, rtol=1e-12)
    estimate = sampled(HOLED, None, None, 2, MASKED, mask_constant=np.nan)
    np.testing.assert_allclose(estimate, sampled(zeroed, None, None, 2), rtol=1e-12)
    with pytest.raises(ValueError, match="x1 must be finite"):
        sampled(ENDLESS, None, None, 2, MASKED, mask_constant=np.nan)
    with pytest.raises(TypeError, match="mask_constant='a', expected a real number"):
        sampled(X, None, None, 2, MASKED, mask_constant="a")


def test_what_is_no_array_of_numbers_is_left_to_the_network():
    """Keys, objects, integers and numbers of Python, among the inputs."""

    def f(params, x):
        assert x["how"] == "loud"
        assert isinstance(x["factor"], float)
        return APPLY(params, x["x"] * x["factor"] + 0 * jax.random.normal(x["key"]))

    x = {"x": X, "how": "loud", "key": KEY, "factor": 1.0, "several": np.arange(3)}
    wanted = nt.empirical_nngp_fn(APPLY)(X, None, PARAMS)
    np.testing.assert_allclose(nt.empirical_nngp_fn(f)(x, None, PARAMS), wanted, rtol=1e-12)
    with pytest.raises(ValueError, match=r"x1\['factor'\] must be finite"):
        nt.empirical_nngp_fn(f)({**x, "factor": np.nan}, None, PARAMS)
