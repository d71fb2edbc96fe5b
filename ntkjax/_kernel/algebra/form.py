"""The form in which a kernel is held at one place of a network.

Before the last nonlinearity, pairs are squared distances beside the variances of single images, and
after it covariances (see `pairs.py`). Of two points with v1 = 1, v2 = 1 and covariance 0.9:

    distance   D = v1 + v2 - 2 K = 0.2,      covariance   K = (v1 + v2 - D) / 2 = 0.9.

The tangent kernel Theta = 1.4 is held whole, or as its excess over the covariance, 0.5: linear
layers of the NTK parameterization then only scale it. `Convert` (see
`ntkjax._kernel.operations.convert`) is the one operation that changes the form.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Form:
    """How pairs are held.

    Attributes:
      is_distance: whether as squared distances rather than covariances.
      has_tangent: whether the array of the tangent kernel is there: it is wanted and not zero.
      is_excess: whether the tangent kernel is its excess over the covariance.
      has_distance: whether the distance is held beside the covariance, as at some outputs.
    """

    is_distance: bool
    has_tangent: bool = False
    is_excess: bool = False
    has_distance: bool = False

    def without_tangent(self) -> "Form":
        """The same for covariances alone."""
        return Form(self.is_distance)


def taken(form: Form, is_distance: bool, is_excess: bool, ntk: bool) -> Form:
    """The form to take of a kernel that is held in another."""
    completed = form.is_excess and not is_excess
    return Form(is_distance, ntk and (form.has_tangent or completed), form.is_excess and is_excess)
