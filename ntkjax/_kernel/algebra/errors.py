"""The error of a layer that cannot take its input."""


class LayerError(ValueError):
    """A layer cannot take its input; the message names the layer and its place."""
