"""What all tests have in common: float64, no caches on disk, and real data where they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

#: Linux gives a process 65,530 memory mappings, and ends it when it asks for more. Of these, a
#: compiled program takes some hundred.
MAPS, MOST_MAPS = Path("/proc/self/maps"), 20_000
compiled = 0


def count_programs(event: str, *args: Any, **kwargs: Any) -> None:
    """Called by JAX after each step of a compilation."""
    global compiled
    compiled += "backend_compile" in event


jax.monitoring.register_event_duration_secs_listener(count_programs)


@pytest.fixture(autouse=True)
def few_programs() -> Iterator[None]:
    """Compiled programs are dropped before they take all memory mappings of the process."""
    yield
    global compiled
    if compiled < 10 or not MAPS.exists():
        return
    compiled = 0
    with MAPS.open() as maps:
        if sum(1 for _ in maps) > MOST_MAPS:
            jax.clear_caches()


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference kernels; where it is absent the test skips."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the checkout: neither real data nor reference kernels")
    return SHARED
