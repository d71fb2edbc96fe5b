"""Calls that look right and are not: the error says what came, what was expected and the mend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from jax import export

import ntkjax
from ntkjax.stax import Conv, Dense, FanOut, GlobalAvgPool, Relu, parallel, serial

X = np.arange(12.0).reshape(4, 3)
NETWORK = serial(Dense(1), Relu(), Dense(1))
KERNEL_FN = NETWORK.kernel_fn


def custom(kernel_fn):
    init_fn, apply_fn, _ = NETWORK
    network = serial(Dense(1), Relu(), Dense(1), (init_fn, apply_fn, kernel_fn))
    return network.kernel_fn(X, None, "nngp")


def by_numpy(kernel):
    return kernel.replace(nngp=np.exp(np.asarray(kernel.nngp)))


def by_if(kernel):
    return kernel if kernel.nngp.sum() > 0 else kernel.replace(nngp=-kernel.nngp)


def by_index(kernel):
    return kernel.replace(nngp=kernel.nngp * range(9)[kernel.x1_is_x2.astype(int)])


def exported():
    shape = export.symbolic_shape("n, 3")
    fn = jax.jit(lambda x: KERNEL_FN(x, None, "ntk"))
    return export.export(fn)(jax.ShapeDtypeStruct(shape, jnp.float32))


def ensemble(**arguments):
    return ntkjax.predict.gradient_descent_mse_ensemble(
        **{"kernel_fn": KERNEL_FN, "x_train": X, "y_train": X, **arguments}
    )


MESSAGES = {
    "sparse": (
        lambda: KERNEL_FN(scipy.sparse.csr_matrix(X)),
        TypeError, ["x1 is sparse (csr_matrix)", "expected a dense array", "x.toarray()"],
    ),
    "random keys": (
        lambda: KERNEL_FN(X, jax.random.split(jax.random.key(0), 2)[:, None]),
        TypeError, ["x2 has dtype key<fry>", "real numbers", "jax.random.normal(key, shape)"],
    ),
    "ragged lists": (
        lambda: KERNEL_FN([[1.0, 2.0], [3.0]]),
        TypeError, ["x1 is [[1.0, 2.0], [3.0]]", "expected an array of real numbers"],
    ),
    "masked array": (
        lambda: KERNEL_FN(np.ma.masked_less(X, 2)),
        TypeError, ["x1 is a masked array", "fill it first"],
    ),
    "dates": (
        lambda: KERNEL_FN(X.astype("M8[s]")),
        TypeError, ["x1 has dtype datetime64[s]", "pass floats"],
    ),
    "arrays in a keyword": (
        lambda: KERNEL_FN(X, None, pattern=(X, X)),
        ValueError, ["pattern=a tuple of 2 (ndarray of shape (4, 3), ndarray", "leave it out"],
    ),
    "symbolic shapes": (
        exported,
        ValueError, ["x1 has shape (n, 3)", "export it for fixed shapes"],
    ),
    "custom layer by NumPy": (
        lambda: custom(by_numpy),
        ValueError, ["custom layer at layer 3", "kernel_fn by_numpy", "jax.numpy instead of numpy"],
    ),
    "custom layer by if": (
        lambda: custom(by_if),
        ValueError, ["custom layer at layer 3", "kernel_fn by_if", "jnp.where or jax.lax.cond"],
    ),
    "custom layer by index": (
        lambda: custom(by_index),
        ValueError, ["custom layer at layer 3", "kernel_fn by_index", "no float() or int()"],
    ),
    "shape of floats": (
        lambda: KERNEL_FN.plan((5.0, 4)),
        ValueError, ["plan: shape1 is (5.0, 4)", "a tuple of integers"],
    ),
    "shape of nothing": (
        lambda: KERNEL_FN.plan((5, 4), (0, 4)),
        ValueError, ["plan: shape2 has shape (0, 4), which is empty", "at least one example"],
    ),
    "shape of an unknown batch": (
        lambda: KERNEL_FN.plan((-1, 4)),
        ValueError, ["plan: shape1 has shape (-1, 4), which has a negative size"],
    ),
    "no shape": (lambda: KERNEL_FN.plan(None), ValueError, ["plan: shape1 is None", "(64, 32"]),
    "second shape for some inputs": (
        lambda: KERNEL_FN.plan([(5, 4), (5, 4)], [(5, 4), None]),
        ValueError, ["plan: some inputs come with shape2 and some without"],
    ),
    "no diag_reg": (
        lambda: ensemble(diag_reg=None),
        TypeError, ["diag_reg must be a real scalar", "None", "such as 1e-6"],
    ),
    "no reg": (
        lambda: ntkjax.ntk_predict(np.eye(2), np.eye(2), np.ones(2), None),
        TypeError, ["reg must be a real scalar", "None", "such as 1e-6"],
    ),
    "a learning rate of text": (
        lambda: ensemble(learning_rate="fast"), TypeError, ["learning_rate must be", "'fast'"],
    ),
    "prediction of two outputs": (
        lambda: ensemble(kernel_fn=FanOut(2).kernel_fn)(x_test=X),
        TypeError, ["kernel_fn(x_train) is a list of 2 kernels", "one output", "FanInSum"],
    ),
    "array for a layer": (
        lambda: serial(Dense(1), np.ones((100, 100))),
        TypeError, ["serial: layer 1 is ndarray of shape (100, 100)", "triple"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(MESSAGES))
def test_message(name):
    call, error, phrases = MESSAGES[name]
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert [phrase for phrase in phrases if phrase not in message] == [], message
    assert len(message) < 700


def test_what_users_expect_to_work_does():
    np_shape = (np.int64(5), np.int32(4))
    assert (
        str(KERNEL_FN.plan(np_shape)) == str(KERNEL_FN.plan([5, 4])) == str(KERNEL_FN.plan((5, 4)))
    )
    two = parallel(Dense(1), Dense(1)).kernel_fn
    assert str(two.plan([(5, 4), (5, 3)])) == str(two.plan([[5, 4], [5, 3]], [None, None]))
    images = np.ones((2, 3, 3, 1), np.int8)
    assert serial(Conv(1, (2, 2)), GlobalAvgPool()).kernel_fn(
        images.tolist(), images
    ).nngp.shape == (2, 2)


def test_a_custom_layer_in_jax_numpy_is_compiled_once():
    calls = []

    def doubled(kernel):
        calls.append(kernel)
        return kernel.replace(nngp=2 * kernel.nngp, cov1=2 * kernel.cov1)

    first = custom(doubled)
    count = len(calls)
    np.testing.assert_array_equal(custom(doubled), first)
    assert len(calls) == count
    np.testing.assert_allclose(first, 2 * KERNEL_FN(X, None, "nngp"), rtol=1e-12)
