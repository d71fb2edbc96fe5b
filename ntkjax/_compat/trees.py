"""Trees of inputs and of results, and the argument `get`, as neural_tangents' helpers take them."""

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax._kernel.get import named_tuple


def is_list_or_tuple(x: Any) -> bool:
    """Whether it is a list or a tuple, and not a named one."""
    return type(x) in (list, tuple)


def is_nt_tree_of(x: Any, dtype: Any) -> bool:
    """Whether it is an instance of a type, or nested lists and tuples of instances."""
    return isinstance(x, dtype) or (
        is_list_or_tuple(x) and all(is_nt_tree_of(one, dtype) for one in x)
    )


def all_none(x: Any, attr: str | None = None) -> bool:
    """Whether all leaves of a tree (or an attribute of each) are None."""
    leaves = jax.tree.leaves(x, is_leaf=lambda leaf: leaf is None or hasattr(leaf, attr or ""))
    return all((leaf if attr is None else getattr(leaf, attr)) is None for leaf in leaves)


def nt_tree_fn(
    nargs: int | None = None,
    tree_structure_argnum: int | None = None,
    reduce: Callable[[Any], Any] = lambda x: x,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: a function of single inputs as one of nested lists and tuples of them.

    The first `nargs` arguments (all, where it is None) are taken apart together; `reduce` is
    applied to the results of each list.
    """

    def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def over_trees(*args: Any, **kwargs: Any) -> Any:
            count = len(args) if nargs is None else nargs
            trees, others = args[:count], args[count:]
            leader = args[tree_structure_argnum or 0]
            if tree_structure_argnum is None and any(map(is_list_or_tuple, trees)):
                kinds = [type(tree) for tree in trees]
                if len(set(kinds)) > 1:
                    raise TypeError(
                        f"the arguments are {[kind.__name__ for kind in kinds]}; give trees of "
                        "one structure."
                    )
            if not is_list_or_tuple(leader):
                return fn(*args, **kwargs)
            parts = zip(*trees, strict=False)
            return reduce(type(leader)(over_trees(*part, *others, **kwargs) for part in parts))

        return over_trees

    return decorated


def canonicalize_get(get: Any) -> tuple[bool, Any]:
    """Whether `get` is one name or None, and a tuple of its names in lower case, or None."""
    if get is None:
        return True, None
    names = (get,) if isinstance(get, str) else tuple(get)
    names = tuple(name.lower() for name in names)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"get={get!r}, expected a name, or a tuple of different names.")
    return isinstance(get, str), names


def get_namedtuple(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: of a function that returns dictionaries, what its argument `get` asks for.

    One entry for a name, a tuple of type `name` for several, and for None all of them.
    """

    def decorated(fn: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(fn)
        if "get" not in signature.parameters:
            raise ValueError(f"get_namedtuple: {fn!r} has no argument `get`; give it one.")

        @functools.wraps(fn)
        def with_get(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            is_one, names = canonicalize_get(given.arguments["get"])
            given.arguments["get"] = names

            def picked(output: Any) -> Any:
                if is_list_or_tuple(output):
                    return type(output)(map(picked, output))
                if isinstance(output, types.GeneratorType):
                    return (picked(one) for one in output)
                return _picked(output, is_one, names, name)

            return picked(fn(*given.args, **given.kwargs))

        return with_get

    return decorated


def _picked(output: Any, is_one: bool, names: tuple[str, ...] | None, type_name: str) -> Any:
    """What was asked for, of a dictionary or what can become one."""
    if names is None:
        is_dict = isinstance(output, dict)
        values = tuple(output.values()) if is_dict else ()
        return named_tuple(type_name, tuple(output), values) if is_dict else output
    for method in ("asdict", "_asdict"):
        output = getattr(output, method)() if hasattr(output, method) else output
    if is_one:
        return output[names[0]]
    return named_tuple(type_name, names, [output[one] for one in names])


def named_tuple_factory(name: str, get: tuple[str, ...]) -> type:
    """The type of a named tuple, one for each set of names."""
    return type(named_tuple(name, tuple(get), [None] * len(get)))


def wraps(f: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`functools.wraps` that also takes over the signature."""

    def decorated(g: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(f)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            return g(*args, **kwargs)

        wrapped.__signature__ = inspect.signature(f)  # type: ignore[attr-defined]
        return wrapped

    return decorated


@nt_tree_fn(nargs=2, reduce=lambda x: jnp.all(jnp.array(x)))
def x1_is_x2(x1: Any, x2: Any = None, eps: float = 1e-12) -> Any:
    """Whether two arrays (or trees of them) are equal to within `eps`; x2 = None is x1 again."""
    if not isinstance(x1, (np.ndarray, jax.Array)):
        raise TypeError(
            f"x1_is_x2: x1 is a {type(x1).__name__}, expected an array, or lists and tuples of "
            "arrays; make it one with jax.numpy.asarray."
        )
    if x2 is None or x1 is x2:
        return True
    if x1.shape != x2.shape:
        return False
    if jnp.issubdtype(x1.dtype, jax.dtypes.prng_key):
        return jnp.all(x1 == x2)
    return jnp.all(jnp.abs(x1 - x2) < eps)


def split_kwargs(kwargs: dict[str, Any], x1: Any = None, x2: Any = None) -> tuple[Any, Any]:
    """The keywords of x1 and those of x2: a tuple of two gives one to each, else both have it.

    Of a key `rng` and two batches, the second gets another key unless it equals the first.
    """
    first, second = {}, {}
    for name, value in kwargs.items():
        is_pair = isinstance(value, tuple) and len(value) == 2
        first[name], second[name] = value if is_pair else (value, value)
        if name == "rng" and value is not None and not is_pair and not all_none(x2):
            key: Any = value
            other = jax.random.fold_in(key, 1)
            second[name] = jax.tree.map(
                functools.partial(jnp.where, x1_is_x2(x1, x2)), value, other
            )
    return first, second


def is_on_cpu(x: Any) -> bool:
    """Whether all arrays of a tree are on the host or on a CPU."""
    arrays = [leaf for leaf in jax.tree.leaves(x) if isinstance(leaf, jax.Array)]
    return all(device.platform == "cpu" for array in arrays for device in array.devices())
