"""The ways to compute an empirical NTK."""

import enum

from ntkjax._kernel.arrays import describe


class NtkImplementation(enum.IntEnum):
    """How `empirical_ntk_fn` computes J(x1) J(x2)'; all give the same kernel.

    Each works tile by tile within `ntkjax.config.memory_budget`: as many examples and outputs at a
    time as fit, activations included.

    Attributes:
      AUTO: STRUCTURED_DERIVATIVES, or NTK_VECTOR_PRODUCTS where these promise to take less than
        half of the multiplications.
      JACOBIAN_CONTRACTION: both Jacobians by reverse mode, then their product.
      NTK_VECTOR_PRODUCTS: for each row of f(x2) a backward pass, and forward-mode passes through
        all of f(x1) along its gradient. Best where parameters are many and passes are cheap.
      STRUCTURED_DERIVATIVES: as the Jacobians, but without the gradients of weights by reverse
        mode. At a product or convolution of inputs x and weights they are sums over positions of x
        times what goes back; these sums are matrix products, and where there are few positions,
        as in a Dense layer, the kernel needs none of them.

    Source: Novak et al. 2022, arXiv 2206.08720, section 3.

    Example:
      >>> NtkImplementation(2).name
      'NTK_VECTOR_PRODUCTS'
    """

    AUTO = 0
    JACOBIAN_CONTRACTION = 1
    NTK_VECTOR_PRODUCTS = 2
    STRUCTURED_DERIVATIVES = 3


def ntk_implementation(value: object) -> NtkImplementation:
    """The implementation that a user named, by member or number."""
    try:
        return NtkImplementation(value)  # type: ignore[arg-type]
    except ValueError as error:
        known = ", ".join(f"{member.value} ({member.name})" for member in NtkImplementation)
        raise ValueError(
            f"implementation must be one of {known}, got {describe(value)}: pass 0 to let the size"
            " decide"
        ) from error
