"""Kernels of an architecture as means over random finite networks."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ntkjax._finite.checks import check_key
from ntkjax._finite.empirical_kernel import empirical_kernel_fn
from ntkjax._finite.implementation import NtkImplementation
from ntkjax._finite.networks import network_arguments
from ntkjax._kernel.arrays import describe
from ntkjax._kernel.get import answer, requested_names
from ntkjax._scale.batch import batch
from ntkjax._scale.progress import progress

_KNOWN = ("nngp", "ntk")


class Estimate(NamedTuple):
    """A mean over random networks, and how far from the expectation it is, as a rule.

    Args:
      mean: the mean, as a kernel.
      standard_error: the standard deviation of single networks over the root of their number, of
        the same shape; NaN for one network.

    Example:
      >>> estimate = Estimate(mean=2.0, standard_error=0.1)
      >>> estimate.standard_error / estimate.mean
      0.05
    """

    mean: Any
    standard_error: Any


def monte_carlo_kernel_fn(
    init_fn: Callable[..., Any],
    apply_fn: Callable[..., Any],
    key: Any,
    n_samples: int | Iterable[int],
    batch_size: int = 0,
    device_count: int = -1,
    store_on_device: bool = True,
    trace_axes: int | Sequence[int] = (-1,),
    diagonal_axes: int | Sequence[int] = (),
    vmap_axes: Any = None,
    implementation: NtkImplementation | int = NtkImplementation.AUTO,
    _j_rules: bool = True,
    _s_rules: bool = True,
    _fwd: bool | None = None,
    *,
    standard_error: bool = False,
) -> Callable[..., Any]:
    r"""The NNGP and the NTK of an architecture, as means over random finite networks.

    .. math::
        \hat K_M = \frac{1}{M} \sum_{m = 1}^M K_{\theta_m}, \qquad
        \hat K_M - E K_\theta = O(1 / \sqrt{M n})

    for networks of width n, whose expectation differs from the infinitely wide network by O(1 / n).
    It serves architectures whose exact kernel is not known, and checks those whose kernel is.

    Args:
      init_fn: `init_fn(key, input_shape)`, which returns an output shape and random parameters.
      apply_fn: `apply_fn(params, x, rng=key, **kwargs)`, the network; `rng` is for layers that draw
        numbers, and others ignore it.
      key: a JAX key. The same key draws the same networks, however the work is batched.
      n_samples: number M of networks; or several numbers, in any order.
      batch_size: the largest number of examples of a batch; 0 for all at once. See `batch`.
      device_count: number of devices that share the batches; see `batch`.
      store_on_device: False to have the results as NumPy arrays on the host.
      trace_axes: axes of the output that are averaged over, as a rule the channels.
      diagonal_axes: axes of the output of which the kernel keeps the diagonal.
      vmap_axes: for the NTK, as for `empirical_ntk_fn`.
      implementation: for the NTK, as for `empirical_ntk_fn`.
      _j_rules: of no effect, for compatibility.
      _s_rules: of no effect, for compatibility.
      _fwd: of no effect, for compatibility.
      standard_error: True to have an `Estimate` in place of each kernel, with its standard error.

    Returns:
      `kernel_fn(x1, x2=None, get=None, **kwargs)`. `get` is `"nngp"`, `"ntk"`, a tuple of them (a
      named tuple comes back), or None for both. Where `n_samples` is several numbers, it is an
      iterator over the estimates after so many networks, in ascending order.

    Raises:
      ValueError: `n_samples` holds no positive integers, or `get` is unknown; inputs hold NaN or
        infinity, other than entries that a keyword `mask_constant` masks; or as `batch` and
        `empirical_ntk_fn` raise.
      TypeError: `init_fn` or `apply_fn` is not callable, `key` is no random key, or inputs are no
        numbers.

    Source: Novak et al. 2020, arXiv 1912.02803, section 3.1.

    Example:
      >>> import jax
      >>> from ntkjax import stax
      >>> init_fn, apply_fn, kernel_fn = stax.serial(stax.Dense(256), stax.Relu(), stax.Dense(1))
      >>> sampled_fn = monte_carlo_kernel_fn(init_fn, apply_fn, jax.random.key(0), 64)
      >>> x = jax.numpy.array([[1.0, 2.0], [2.0, 1.0]])
      >>> error = abs(sampled_fn(x, None, "ntk") / kernel_fn(x, None, "ntk") - 1)
      >>> bool((error < 0.1).all())
      True
    """
    for name, fn in (("init_fn", init_fn), ("apply_fn", apply_fn)):
        if not callable(fn):
            raise TypeError(
                f"monte_carlo_kernel_fn: {name} must be callable, got {describe(fn)}; pass the"
                " first two values of stax.serial."
            )
    check_key("monte_carlo_kernel_fn", key)
    counts = _counts(n_samples)
    kernel_of = empirical_kernel_fn(apply_fn, trace_axes, diagonal_axes, vmap_axes, implementation)

    def of_network(x1: Any, x2: Any, names: Any, params: Any, rng: Any, **kwargs: Any) -> Any:
        # Compiled for the first network, and the same program for all others.
        arrays = {name: value for name, value in kwargs.items() if _is_arrays(value)}
        others = tuple((name, kwargs[name]) for name in sorted({*kwargs} - {*arrays}))
        if not (_is_arrays((x1, x2, params)) and _is_hashable(others)):
            return tuple(kernel_of(x1, x2, names, params, rng=rng, **kwargs))
        return compiled(x1, x2, tuple(names), params, rng, arrays, others)

    @functools.partial(jax.jit, static_argnums=(2, 6))
    def compiled(
        x1: Any, x2: Any, names: Any, params: Any, rng: Any, arrays: Any, others: Any
    ) -> Any:
        return tuple(kernel_of(x1, x2, names, params, rng=rng, **arrays, **dict(others)))

    batched = batch(of_network, batch_size, device_count, store_on_device)

    def estimates(
        x1: Any, x2: Any, get: Any, names: tuple[str, ...], keywords: dict[str, Any]
    ) -> Iterator[Any]:
        shapes = jax.tree.map(np.shape, x1)
        rest, moments = key, _Moments(standard_error)
        for m in progress(range(1, counts[-1] + 1), "networks"):
            rest, of_one = jax.random.split(rest)
            of_params, rng = jax.random.split(of_one)
            _, params = init_fn(of_params, shapes)
            moments.add(batched(x1, x2, names, params, rng, **keywords))
            if m in counts:
                made = dict(zip(names, moments.estimates(), strict=True))
                yield answer(get, names, made.__getitem__, "EmpiricalKernel")

    def kernel_fn(x1: Any, x2: Any = None, get: Any = None, **kwargs: Any) -> Any:
        # Here, and not where an iterator is asked for its first estimate, or within a program.
        names = requested_names(get, _KNOWN, f"{_KNOWN}") or _KNOWN
        first, second, _ = network_arguments(x1, x2, None, kwargs)
        found = estimates(first.x, None if second is None else second.x, get, names, kwargs)
        return next(found) if isinstance(n_samples, (int, np.integer)) else found

    return kernel_fn


def _is_arrays(tree: Any) -> bool:
    """Whether all that a tree holds are arrays of numbers, which a compiled program takes."""

    def is_array(leaf: Any) -> bool:
        is_numbers = isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc"
        return is_numbers or isinstance(leaf, jax.Array)

    return all(map(is_array, jax.tree.leaves(tree)))


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _counts(n_samples: Any) -> list[int]:
    """The numbers of networks after which there is an estimate, in ascending order."""
    is_one = isinstance(n_samples, (int, np.integer)) and not isinstance(n_samples, bool)
    counts = [n_samples] if is_one else list(n_samples) if isinstance(n_samples, Iterable) else []
    if not counts or not all(
        isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in counts
    ):
        raise ValueError(
            f"monte_carlo_kernel_fn: n_samples={describe(n_samples)}, expected a positive integer "
            "or several of them; pass 100, say, or [1, 10, 100]."
        )
    return sorted({int(n) for n in counts})


class _Moments:
    """The mean of kernels, and the sum of their squared deviations from it (Welford 1962)."""

    def __init__(self, with_error: bool) -> None:
        self._with_error = with_error
        self._count = 0
        self._means: list[Any] = []
        self._squares: list[Any] = []

    def add(self, kernels: Sequence[Any]) -> None:
        """One more network."""
        self._count += 1
        if self._count == 1:
            self._means = list(kernels)
            self._squares = [jax.tree.map(lambda a: 0 * a, kernel) for kernel in kernels]
            return
        for k, kernel in enumerate(kernels):
            before = self._means[k]
            self._means[k] = jax.tree.map(lambda m, a: m + (a - m) / self._count, before, kernel)
            if self._with_error:
                self._squares[k] = jax.tree.map(
                    lambda s, a, old, new: s + (a - old) * (a - new),
                    self._squares[k], kernel, before, self._means[k],
                )  # fmt: skip

    def estimates(self) -> list[Any]:
        """The means, perhaps with their standard errors."""
        if not self._with_error:
            return list(self._means)
        return [
            Estimate(mean, jax.tree.map(self._error, squares))
            for mean, squares in zip(self._means, self._squares, strict=True)
        ]

    def _error(self, squares: Any) -> Any:
        if self._count == 1:
            return np.nan * squares
        return jnp.sqrt(squares / (self._count - 1) / self._count)
