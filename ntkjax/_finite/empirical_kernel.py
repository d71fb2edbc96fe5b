"""Both kernels of one finite network, by name."""

from collections.abc import Callable, Sequence
from typing import Any

from ntkjax._finite.empirical import empirical_nngp_fn, empirical_ntk_fn
from ntkjax._finite.implementation import NtkImplementation
from ntkjax._kernel.get import answer, requested_names

_KNOWN = ("nngp", "ntk")


def empirical_kernel_fn(
    f: Callable[..., Any],
    trace_axes: int | Sequence[int] = (-1,),
    diagonal_axes: int | Sequence[int] = (),
    vmap_axes: Any = None,
    implementation: NtkImplementation | int = NtkImplementation.AUTO,
    _j_rules: bool = True,
    _s_rules: bool = True,
    _fwd: bool | None = None,
) -> Callable[..., Any]:
    """The NNGP and the NTK of one finite network, by name.

    Args:
      f: `f(params, x, **kwargs)`, as for `empirical_ntk_fn`.
      trace_axes: axes of the output that are averaged over, as a rule the channels.
      diagonal_axes: axes of the output of which the kernel keeps the diagonal.
      vmap_axes: for the NTK, as for `empirical_ntk_fn`.
      implementation: for the NTK, as for `empirical_ntk_fn`.
      _j_rules: of no effect, for compatibility.
      _s_rules: of no effect, for compatibility.
      _fwd: of no effect, for compatibility.

    Returns:
      `kernel_fn(x1, x2, get, params, **kwargs)`. `get` is `"nngp"` or `"ntk"`, a tuple of them (a
      named tuple comes back), or None for both. Shapes are those of `empirical_ntk_fn`.

    Raises:
      ValueError: `get` is unknown, or as `empirical_ntk_fn` raises.
      TypeError: `get` is no string or tuple, or as `empirical_ntk_fn` raises.

    Source: Novak et al. 2022, arXiv 2206.08720.

    Example:
      >>> import jax.numpy as jnp
      >>> kernel_fn = empirical_kernel_fn(lambda params, x: x @ params)
      >>> kernels = kernel_fn(jnp.ones((3, 2)), None, ("nngp", "ntk"), jnp.ones((2, 4)))
      >>> kernels.nngp.shape, kernels.ntk[0, 0].item()
      ((3, 3), 2.0)
    """
    del _j_rules, _s_rules, _fwd
    functions = {
        "nngp": empirical_nngp_fn(f, trace_axes, diagonal_axes),
        "ntk": empirical_ntk_fn(f, trace_axes, diagonal_axes, vmap_axes, implementation),
    }

    def kernel_fn(x1: Any, x2: Any, get: Any, params: Any, **kwargs: Any) -> Any:
        names = requested_names(get, _KNOWN, f"{_KNOWN}") or _KNOWN

        def kernel(name: str) -> Any:
            return functions[name](x1, x2, params, **kwargs)

        return answer(get, names, kernel, "EmpiricalKernel")

    return kernel_fn
