"""The ways to compute an empirical NTK."""

import enum

from ntkjax._kernel.arrays import describe


class NtkImplementation(enum.IntEnum):
    """How `empirical_ntk_fn` computes J(x1) J(x2)'; all give the same kernel.

    With n1, n2 the rows of the Jacobians and p the number of parameters:

    Attributes:
      AUTO: JACOBIAN_CONTRACTION while its Jacobians are small, else NTK_VECTOR_PRODUCTS.
      JACOBIAN_CONTRACTION: both Jacobians by reverse mode, then their product. Takes n1 + n2
        backward passes, and (n1 + n2) p numbers of memory for one place of the traced and diagonal
        axes at a time. Best where a forward pass is dear for its number of parameters
        (convolutions).
      NTK_VECTOR_PRODUCTS: a backward pass through f(x2) and then a forward-mode pass through f(x1),
        for each row of the kernel. Memory of a few times p: best for very wide networks.
      STRUCTURED_DERIVATIVES: accepted for compatibility; the same as AUTO.

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
