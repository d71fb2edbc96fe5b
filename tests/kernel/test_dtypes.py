"""In which precision a kernel is computed, of inputs of every dtype and byte order."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ntkjax
from ntkjax.stax import Conv, Dense, GlobalAvgPool, Relu, serial
from tests.precision import x64

KERNEL_FN = serial(Dense(1), Relu(), Dense(1)).kernel_fn
X = np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 1.0]])
EXACT = KERNEL_FN(X, None, "ntk")
IMAGES = np.arange(2 * 3 * 3 * 1).reshape(2, 3, 3, 1) % 5
ON_IMAGES = serial(Conv(1, (2, 2)), Relu(), GlobalAvgPool()).kernel_fn

DTYPES = ["f8", ">f8", "f4", ">f4", "f2", ">f2", "i8", ">i4", "i1", "u1", "?", "g"]
HALF = [jnp.bfloat16, jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.int4]


@pytest.mark.parametrize("dtype", [*DTYPES, *HALF], ids=str)
@pytest.mark.parametrize("setting", ["widest", "inputs"])
def test_with_x64_kernels_are_float64_or_as_wide_as_their_inputs(setting, dtype):
    x = X.astype(dtype)
    narrow = setting == "inputs" and np.dtype(dtype).kind in "fV" and x.itemsize < 8
    narrow = narrow and dtype is not jnp.int4
    with ntkjax.config.set(dtype=setting), warnings.catch_warnings():
        warnings.simplefilter("ignore" if dtype == "g" else "error")
        kernel = KERNEL_FN(x, None, "ntk")
    assert kernel.dtype == (np.float32 if narrow else np.float64)
    exact = KERNEL_FN(x.astype(float), None, "ntk")
    np.testing.assert_allclose(kernel, exact, rtol=1e-6 if narrow else 1e-14)


@pytest.mark.parametrize("setting", ["widest", "inputs"])
def test_the_wider_of_several_inputs_decides(setting):
    with ntkjax.config.set(dtype=setting):
        mixed = KERNEL_FN(np.float32(X), X, "ntk")
    assert mixed.dtype == np.float64
    np.testing.assert_allclose(mixed, EXACT, rtol=1e-14)


def test_without_x64_kernels_are_float32():
    with x64(False):
        for dtype in ("f4", ">f4", "f2", "i4", "?"):
            assert KERNEL_FN(X.astype(dtype), None, "ntk").dtype == np.float32
        with pytest.warns(UserWarning, match="x1 has dtype float64, but JAX keeps float32"):
            assert KERNEL_FN(X, None, "ntk").dtype == np.float32


def test_a_warning_of_lost_digits_points_at_the_caller():
    with x64(False), pytest.warns(UserWarning, match="JAX keeps float32") as caught:
        KERNEL_FN(X, None, "ntk")
    assert caught[0].filename == __file__


def test_what_float32_cannot_hold_is_refused():
    with x64(False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"x1 must be finite.*float32 cannot hold"):
            KERNEL_FN(1e300 * X, None, "ntk")


def test_lists_of_numbers_are_arrays():
    np.testing.assert_array_equal(KERNEL_FN(X.tolist(), X.tolist(), "ntk"), KERNEL_FN(X, X, "ntk"))
    as_list = ON_IMAGES(IMAGES.tolist(), None, "nngp")
    np.testing.assert_array_equal(as_list, ON_IMAGES(IMAGES, None, "nngp"))
    with x64(False):  # Python's numbers have no precision to lose.
        assert KERNEL_FN(X.tolist(), None, "ntk").dtype == np.float32


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i2"])
def test_the_kernels_of_the_paper_take_any_byte_order(dtype):
    for kernel, x in ((ntkjax.compute_ntk_relu, X), (ntkjax.compute_cntk, IMAGES)):
        foreign = kernel(x.astype(dtype), x.astype(dtype), 2)
        home = kernel(x, x, 2)
        assert foreign.Theta.dtype == (np.float32 if dtype == ">f4" else np.float64)
        np.testing.assert_allclose(foreign.Theta, home.Theta, rtol=2e-6)


@pytest.mark.parametrize("kernel", [ntkjax.compute_ntk_relu, ntkjax.compute_cntk])
def test_the_kernels_of_the_paper_are_float64_with_x64(kernel):
    x = np.float32(X if kernel is ntkjax.compute_ntk_relu else IMAGES)
    with ntkjax.config.set(dtype="widest"):
        wide = kernel(x, None, 2)
    assert (wide.Theta.dtype, wide.Sigma.dtype) == (np.float64, np.float64)
    np.testing.assert_allclose(wide.Theta, kernel(np.float64(x), None, 2).Theta, rtol=1e-14)


@pytest.mark.parametrize("transform", [jax.jit, jax.grad])
def test_traced_inputs_follow_the_setting(transform):
    dtypes = []

    def total(x):
        kernel = KERNEL_FN(x, None, "ntk")
        dtypes.append(kernel.dtype)
        return kernel.sum()

    for setting, expected in (("widest", np.float64), ("inputs", np.float32)):
        with ntkjax.config.set(dtype=setting):
            transform(lambda x: total(x))(jnp.float32(X))
        assert dtypes.pop() == expected


@pytest.mark.parametrize(
    "w_std", [np.float32(1.5), np.float64(1.5), jnp.float32(1.5), jnp.array(3)]
)
def test_numbers_of_a_layer_impose_no_dtype(w_std):
    for dtype in (np.float32, np.float64):
        kernel = serial(Dense(1, w_std), Relu(), Dense(1)).kernel_fn(X.astype(dtype), None, "ntk")
        assert kernel.dtype == dtype
        traced = jax.jit(
            lambda w, dtype=dtype: serial(Dense(1, w), Relu(), Dense(1)).kernel_fn(
                X.astype(dtype), None, "ntk"
            )
        )(w_std)
        assert traced.dtype == dtype
        np.testing.assert_allclose(traced, kernel, rtol=1e-6)


def test_a_plan_is_for_the_dtype_of_the_kernel():
    shape = (64, 8, 8, 1)
    in_bytes = {}
    for setting in ("widest", "inputs"):
        with ntkjax.config.set(dtype=setting):
            in_bytes[setting] = ON_IMAGES.plan(shape, None, "ntk", dtype=np.float32)
    assert in_bytes["widest"].bytes > in_bytes["inputs"].bytes


@pytest.mark.parametrize(
    ("name", "value", "phrase"),
    [
        ("memory_budget", float("inf"), "memory_budget=inf, expected a positive number of bytes"),
        ("memory_budget", float("nan"), "memory_budget=nan"),
        ("memory_budget", "1 GiB", "memory_budget='1 GiB'"),
        ("memory_budget", True, "memory_budget=True"),
        ("memory_budget", 0, "memory_budget=0"),
        ("devices", (), "expected devices such as jax.local_devices"),
        ("devices", "cpu", "devices='cpu'"),
        ("dtype", np.float32, "expected 'widest' .* or 'inputs'"),
    ],
)
def test_a_setting_out_of_its_range(name, value, phrase):
    before = getattr(ntkjax.config, name)
    with pytest.raises(ValueError, match=phrase):
        setattr(ntkjax.config, name, value)
    assert getattr(ntkjax.config, name) == before


def test_settings_of_numpy_and_single_devices():
    device = jax.devices()[0]
    with ntkjax.config.set(memory_budget=np.int64(2**30), devices=device):
        assert (ntkjax.config.memory_budget, ntkjax.config.devices) == (2**30, (device,))
    with pytest.raises(AttributeError, match="'memory' is no setting; there are memory_budget"):
        ntkjax.config.memory = 1
