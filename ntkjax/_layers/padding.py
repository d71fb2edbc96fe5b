"""The kinds of padding of convolutions and pools, as an enumeration."""

import enum


class Padding(enum.Enum):
    """Kinds of padding of convolutions and pools, which take a member or its name.

    Source: the names are those of neural-tangents 0.6.5.

    Example:
      >>> from ntkjax import stax
      >>> stax.AvgPool((2,), padding=stax.Padding.SAME)
      AvgPool((2,), strides=(1,), padding='SAME')
    """

    #: The image is periodic.
    CIRCULAR = "CIRCULAR"
    #: Zeros around the image, so that with stride 1 it keeps its size.
    SAME = "SAME"
    #: No padding.
    VALID = "VALID"
