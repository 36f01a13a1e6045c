"""The table of networks for pictures of any size, and the specs behind the names."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

from sklearn.base import BaseEstimator
from torch import nn

from sk_denoise._representation import DocumentationLinkMixin
from sk_denoise._validation import Interval, StrOptions, check_parameters
from sk_denoise.estimators._networks import resolve_spec, sizes_of
from sk_denoise.networks import DnCNN, FoldedUNet, RIDNet, UNet

__all__ = [
    "IMAGE_NETWORKS",
    "DnCNNNetwork",
    "FoldedUNetNetwork",
    "RIDNetNetwork",
    "UNetNetwork",
    "resolve_image_network",
]

ONE_OR_MORE = [Interval(Integral, 1, None, closed="left")]


class _ImageNetworkSpec(DocumentationLinkMixin, BaseEstimator):
    """A spec with the constraints of its parameters beside it; ``build(channels, noise_map)`` checks them."""

    meant_for: ClassVar[str] = "ImageDenoiser"


class FoldedUNetNetwork(_ImageNetworkSpec):
    """Spec of a small residual U-Net on the folded picture, for ``ImageDenoiser(network=...)``.

    The default, and the network whose weights are in the box: 848,000 weights and 109,000 multiplications
    for each pixel, an eighth of what full resolution would take.

    Parameters
    ----------
    widths : pair of int, default=(64, 96)
        Channels at half and at a quarter of the resolution.
    blocks : pair of int, default=(2, 3)
        Residual blocks on each side at half resolution, and at a quarter.

    See Also
    --------
    ImageDenoiser : Trains the network.

    Examples
    --------
    >>> from sk_denoise import FoldedUNetNetwork, ImageDenoiser
    >>> ImageDenoiser(FoldedUNetNetwork((32, 48))).set_params(network__blocks=(1, 1)).network
    FoldedUNetNetwork(blocks=(1, 1), widths=(32, 48))
    """

    def __init__(self, widths: Sequence[int] = (64, 96), *, blocks: Sequence[int] = (2, 3)) -> None:
        self.widths = widths
        self.blocks = blocks

    def build(self, channels: int, noise_map: bool) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        channels : int
            Channels of the pictures.
        noise_map : bool
            Whether a map of the noise level follows them.

        Returns
        -------
        torch.nn.Module
        """
        widths, blocks = sizes_of(self, "widths", at_least=1), sizes_of(self, "blocks", at_least=1)
        return FoldedUNet(channels, widths=widths, blocks=blocks, noise_map=noise_map)


class UNetNetwork(_ImageNetworkSpec):
    """Spec of a U-Net, for ``ImageDenoiser(network=...)``.

    Parameters
    ----------
    widths : sequence of int, default=(32, 64, 128)
        Channels at full resolution, at half of it, and so on; as many resolutions as there are widths.
    normalization : {None, "batch"}, default=None
        What stands between a convolution and its rectifier.
    residual : bool, default=True
        Whether the network finds the noise, which is taken off the noisy picture, or the clean picture.

    See Also
    --------
    ImageDenoiser : Trains the network.

    Examples
    --------
    >>> from sk_denoise import ImageDenoiser, UNetNetwork
    >>> ImageDenoiser(UNetNetwork((16, 32))).get_params()["network__residual"]
    True
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128),
        *,
        normalization: Literal["batch"] | None = None,
        residual: bool = True,
    ) -> None:
        self.widths = widths
        self.normalization = normalization
        self.residual = residual

    def build(self, channels: int, noise_map: bool) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        channels : int
            Channels of the pictures.
        noise_map : bool
            Whether a map of the noise level follows them.

        Returns
        -------
        torch.nn.Module
        """
        check_parameters(self, {"normalization": [StrOptions({"batch"}), None], "residual": ["boolean"]})
        return UNet(
            channels,
            widths=sizes_of(self, "widths", at_least=1),
            normalization=self.normalization,
            residual=self.residual,
            noise_map=noise_map,
        )


class DnCNNNetwork(_ImageNetworkSpec):
    """Spec of DnCNN, for ``ImageDenoiser(network=...)``.

    Parameters
    ----------
    depth : int, default=17
        Convolutions, at least 2. The paper has 17 for one noise level and 20 for a range of them or colour.
    width : int, default=64
        Channels between the convolutions.

    See Also
    --------
    ImageDenoiser : Trains the network.

    Examples
    --------
    >>> from sk_denoise import DnCNNNetwork, ImageDenoiser
    >>> ImageDenoiser(DnCNNNetwork(depth=20)).get_params()["network__width"]
    64
    """

    def __init__(self, depth: int = 17, *, width: int = 64) -> None:
        self.depth = depth
        self.width = width

    def build(self, channels: int, noise_map: bool) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        channels : int
            Channels of the pictures.
        noise_map : bool
            Whether a map of the noise level follows them.

        Returns
        -------
        torch.nn.Module
        """
        check_parameters(self, {"depth": [Interval(Integral, 2, None, closed="left")], "width": ONE_OR_MORE})
        return DnCNN(channels, depth=self.depth, width=self.width, noise_map=noise_map)


class RIDNetNetwork(_ImageNetworkSpec):
    """Spec of RIDNet, for ``ImageDenoiser(network=...)``.

    Its attention averages over the whole picture. Large pictures are worked on in tiles, which are weighed by
    their own averages: answers near those to the whole picture, and a warning.

    Parameters
    ----------
    width : int, default=64
        Channels between the modules.
    blocks : int, default=4
        Enhancement attention modules.
    reduction : int, default=16
        How many times fewer channels the attention has inside; it divides ``width``.

    See Also
    --------
    ImageDenoiser : Trains the network.

    Examples
    --------
    >>> from sk_denoise import ImageDenoiser, RIDNetNetwork
    >>> ImageDenoiser(RIDNetNetwork(width=32)).get_params()["network__blocks"]
    4
    """

    def __init__(self, width: int = 64, *, blocks: int = 4, reduction: int = 16) -> None:
        self.width = width
        self.blocks = blocks
        self.reduction = reduction

    def build(self, channels: int, noise_map: bool) -> nn.Module:
        """Return the network; an estimator draws its weights again.

        Parameters
        ----------
        channels : int
            Channels of the pictures.
        noise_map : bool
            Whether a map of the noise level follows them.

        Returns
        -------
        torch.nn.Module
        """
        check_parameters(self, dict.fromkeys(("width", "blocks", "reduction"), ONE_OR_MORE))
        return RIDNet(
            channels, width=self.width, blocks=self.blocks, reduction=self.reduction, noise_map=noise_map
        )


IMAGE_NETWORKS: dict[str, type[_ImageNetworkSpec]] = {
    "folded_unet": FoldedUNetNetwork,
    "unet": UNetNetwork,
    "dncnn": DnCNNNetwork,
    "ridnet": RIDNetNetwork,
}


def resolve_image_network(network: Any) -> Any:
    """Return a spec or callable for what a user may pass as ``network``."""
    return resolve_spec(network, IMAGE_NETWORKS, "ImageDenoiser", "(channels, noise_map)")
