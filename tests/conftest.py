"""What all tests have in common: float64, no caches on disk, and real data where they are."""

from pathlib import Path

import jax
import pytest

import ntkjax

# Before any array is made.
jax.config.update("jax_enable_x64", True)
# Nothing depends on implicit promotion, of ranks or of dtypes.
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Tests of float32 ask for it with the dtype of their inputs.
ntkjax.config.dtype = "inputs"
# A kernel compiled by an older version of the code must not answer for the present one.
jax.config.update("jax_enable_compilation_cache", False)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference kernels; where it is absent the test skips."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the checkout: neither real data nor reference kernels")
    return SHARED
