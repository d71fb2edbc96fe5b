"""Architectures of the literature, each a function that composes layers of `ntkjax.stax`."""

from ntkjax._layers.architectures import cnn, fcn, myrtle, resnet, wide_resnet

__all__ = ["cnn", "fcn", "myrtle", "resnet", "wide_resnet"]
