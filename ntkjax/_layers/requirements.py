"""Requirements of neural-tangents' layers on diagonals: `Bool` and `Diagonal`.

Layers of one's own that were written for that library name them. Nothing here depends on them:
which diagonals a network needs is worked out from its layers (`ntkjax._kernel.plan`).
"""

import dataclasses
import enum


class Bool(enum.IntEnum):
    """No, maybe or yes; `a & b` is the lesser of both.

    Attributes:
      NO: no.
      MAYBE: it depends on what follows.
      YES: yes.

    Source: the names are those of neural-tangents 0.6.5.

    Example:
      >>> (Bool.YES & Bool.MAYBE).name
      'MAYBE'
    """

    NO = 0
    MAYBE = 1
    YES = 2

    def __and__(self, other: int) -> "Bool":
        return Bool(min(int(self), int(other)))

    __rand__ = __and__


@dataclasses.dataclass(frozen=True)
class Diagonal:
    """Whether equal positions suffice to a layer, and to what follows it.

    Args:
      input: whether the layer can do with equal positions of its input: YES; MAYBE, if what
        follows it can; NO.
      output: whether equal positions of its outputs are all that will be needed: YES; MAYBE, so
        far; NO.

    Returns:
      A value. `a >> b` (or `b << a`) is that of layer b after layer a, `a & b` that of both side by
      side. It is true where equal positions suffice.

    Raises:
      TypeError: `>>`, `<<` or `&` with something else.

    Source: the names are those of neural-tangents 0.6.5.

    Example:
      >>> convolution, flatten = Diagonal(Bool.YES, Bool.NO), Diagonal(Bool.YES, Bool.YES)
      >>> bool(convolution >> flatten), bool(convolution)
      (True, False)
    """

    input: Bool = Bool.YES
    output: Bool = Bool.NO

    def __rshift__(self, other: "Diagonal") -> "Diagonal":
        if not isinstance(other, Diagonal):
            return NotImplemented
        if self.output is Bool.YES:
            return self  # nothing beyond equal positions is left for the other to need
        if self.output is Bool.MAYBE and other.input is not Bool.NO:
            needed = self.input
        elif self.output is Bool.NO and other.input is not Bool.YES:
            needed = Bool.NO
        else:
            needed = self.input & other.input
        return Diagonal(needed, other.output)

    def __lshift__(self, other: "Diagonal") -> "Diagonal":
        return other >> self if isinstance(other, Diagonal) else NotImplemented

    def __and__(self, other: "Diagonal") -> "Diagonal":
        if not isinstance(other, Diagonal):
            return NotImplemented
        return Diagonal(self.input & other.input, self.output & other.output)

    __rand__ = __and__

    def __bool__(self) -> bool:
        return self.input is Bool.YES and self.output is not Bool.NO
