"""The errors of layers and kernels that cannot take what they are given."""


class LayerError(ValueError):
    """A layer cannot take its input; the message names the layer and its place."""


class UnsupportedError(ValueError, NotImplementedError):
    """What was asked for has a meaning, but no function here; neural-tangents says so as well."""


class UnsupportedLayerError(LayerError, UnsupportedError):
    """A layer whose kernel, of such an input, has no function here."""
