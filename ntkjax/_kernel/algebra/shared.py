"""Numbers that several layers have in common, told by their being one object.

A network of twenty layers of one `W_std` has twenty variances of weights. Where `W_std` is traced,
each would be a variable of its own, and nothing would tell that one number stands behind them; here
they are one (see `engine/by_numbers.py`, which asks along how many directions a kernel changes).
"""

import functools
import weakref
from collections.abc import Callable
from typing import Any

from jax import Array
from jax.extend.core import get_opaque_trace_state

from ntkjax._jax_compat import is_traced

Scalar = float | Array


def once(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`fn` of a number, which makes one result of one traced number.

    A result is known for as long as somebody holds it, and to the trace that made it alone.
    """
    made: dict[int, tuple[Any, Any, Any]] = {}

    @functools.wraps(fn)
    def result(number: Any) -> Any:
        if not is_traced(number):
            return fn(number)
        key, trace = id(number), get_opaque_trace_state()
        before, known, of_trace = made.get(key, (lambda: None, lambda: None, None))
        value = known() if before() is number and of_trace == trace else None
        if value is None:
            value = fn(number)
            forget = weakref.ref(number, lambda _: made.pop(key, None))
            made[key] = forget, weakref.ref(value), trace
        return value

    return result


@once
def squared(number: Scalar) -> Scalar:
    """The square of a number: of a standard deviation, the variance."""
    return number**2
