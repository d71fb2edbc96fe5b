"""Architectures of the literature, each a function that composes layers of `ntkjax.stax`."""

from ntkjax._layers.architectures import cnn, fcn, myrtle, resnet, wide_resnet
from ntkjax._layers.sequence_and_graph_architectures import gntk, transformer

__all__ = ["cnn", "fcn", "gntk", "myrtle", "resnet", "transformer", "wide_resnet"]
