"""The estimator for arrays of one shape: tables, signals and pictures, through a bottleneck."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OneToOneFeatureMixin
from sklearn.utils import check_array
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sk_denoise._validation import Interval, as_float, as_tensor, check_one_of
from sk_denoise.estimators._base import BaseDenoiser
from sk_denoise.estimators._pairs import Pair
from sk_denoise.estimators._preparation import run_in_chunks

__all__ = ["DenoisingAutoencoder"]

# output: the part of the network that it takes
OUTPUTS = {"reconstruction": "forward", "latent": "encoder", "activations": "activations"}


def _gives_latents(dae: DenoisingAutoencoder) -> bool:
    if dae.output != "latent":
        raise AttributeError(
            f'inverse_transform decodes what transform gives with output="latent"; it is {dae.output!r} here. '
            'Use set_params(output="latent"), which needs no new fit.'
        )
    return True


class DenoisingAutoencoder(BaseDenoiser):
    """TODO."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "latent_dim": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        network: Any = "dense",
        latent_dim: int = 128,
        *,
        noise: Any = "auto",
        loss: str = "mse",
        optimizer: str | type[torch.optim.Optimizer] = "adamw",
        learning_rate: float | None = None,
        learning_rate_schedule: str = "flat_cosine",
        weight_decay: float | Literal["auto"] = "auto",
        batch_size: int | Literal["auto"] = "auto",
        max_epochs: int | Literal["auto"] = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-4,
        warm_start: bool = False,
        output: Literal["reconstruction", "latent", "activations"] = "reconstruction",
        image_shape: Sequence[int] | None = None,
        device: str | torch.device = "auto",
        random_state: int | RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.latent_dim = latent_dim
        self.noise = noise
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.output = output
        self.image_shape = image_shape
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def transform(self, X: ArrayLike) -> Any:
        """Denoise, or return what the network makes of the samples on the way.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Noisy samples, in the layout and unit of ``fit``.

        Returns
        -------
        ndarray or DataFrame
            By ``output``: denoised samples of the shape of X ("reconstruction"), latent vectors of shape
            (n_samples, latent_dim) ("latent"), or the outputs of all hidden layers side by side
            ("activations"); float64 for float64, else float32.
        """
        check_one_of(self.output, OUTPUTS, "output")
        if self.output == "reconstruction":
            return self.predict(X)
        check_is_fitted(self)
        part = self._part(OUTPUTS[self.output], f"output={self.output!r}")
        return self._apply(X, lambda module, x: getattr(module, part)(x).flatten(1))

    @available_if(_gives_latents)
    def inverse_transform(self, Z: ArrayLike) -> NDArray[Any]:
        """Decode latent vectors.

        Parameters
        ----------
        Z : array-like of shape (n_samples, latent_dim)
            Latent vectors, as ``transform`` gives them with ``output="latent"``.

        Returns
        -------
        ndarray of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Samples in the unit of the clean side; float64 for float64, else float32.
        """
        restore = self._fitted_preparation().restore
        self._part("decoder", "inverse_transform")
        latents = as_float(np.asarray(check_array(Z, dtype="numeric", input_name="Z", estimator=self)))
        if latents.shape[1] != self.latent_dim:
            raise ValueError(
                f"Z holds vectors of length {latents.shape[1]}, the latent vectors of this "
                f'{type(self).__name__} have latent_dim={self.latent_dim}. Pass what transform gives with '
                'output="latent".'
            )
        decode = run_in_chunks(self.net_.module_, as_tensor(latents), lambda m, z: restore(m.decoder(z)))
        return decode.numpy()

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Return the names of what ``transform`` gives.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the input features, where ``fit`` saw none.

        Returns
        -------
        ndarray of str
            The names of the input for reconstructions, ``denoisingautoencoder0`` and so on otherwise.
        """
        check_is_fitted(self)
        if self.output == "reconstruction":
            names = OneToOneFeatureMixin.get_feature_names_out(self, input_features)
        else:
            names = ClassNamePrefixFeaturesOutMixin.get_feature_names_out(self, input_features)
        return np.asarray(names, dtype=object)

    @property
    def encoder_(self) -> nn.Module:
        """The half of the network from the scaled input to the latent vector."""
        check_is_fitted(self)
        return getattr(self.net_.module_, self._part("encoder", "encoder_"))  # type: ignore[no-any-return]

    @property
    def decoder_(self) -> nn.Module:
        """The half of the network from the latent vector to the scaled output."""
        check_is_fitted(self)
        return getattr(self.net_.module_, self._part("decoder", "decoder_"))  # type: ignore[no-any-return]

    @property
    def _n_features_out(self) -> int:
        """Number of columns of ``transform`` where it gives latent vectors or activations."""
        part = getattr(self.net_.module_, self._part(OUTPUTS[self.output], f"output={self.output!r}"))
        device = next(self.net_.module_.parameters()).device
        with torch.inference_mode():
            probe = torch.zeros(1, *self._preparation_.layout.network_shape, device=device)
            return int(part(probe).numel())

    def _prepare(self, pair: Pair) -> None:
        check_one_of(self.output, OUTPUTS, "output")
        super()._prepare(pair)
        self._part(OUTPUTS[self.output], f"output={self.output!r}")

    def _part(self, part: str, purpose: str) -> str:
        """Return the name of a part of the network, once it is known that there is one."""
        if not hasattr(self.net_.module_, part):
            raise AttributeError(
                f"{purpose} needs a network with the part {part!r}; {type(self.net_.module_).__name__} has none."
            )
        return part
