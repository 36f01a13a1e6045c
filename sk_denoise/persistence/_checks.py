"""What fitted state must be like for an estimator to work, by the class that has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from torch import Tensor

from sk_denoise._intensity import IntensityRange
from sk_denoise._resources import Cost
from sk_denoise._scaling import AffineScaler
from sk_denoise._validation import Noiser, check_parameters
from sk_denoise.estimators import DenoisingAutoencoder, DenoisingEnsemble, WienerDenoiser
from sk_denoise.estimators._filter_base import ClassicalDenoiser
from sk_denoise.estimators._image_denoiser import ImageDenoiser
from sk_denoise.estimators._network_denoiser import NetworkDenoiser
from sk_denoise.estimators._preparation import ImageLayout, Preparation, SampleLayout
from sk_denoise.estimators._wiener import _Spectrum
from sk_denoise.noise import (
    MaskingNoiser,
    NoiserChain,
    NoiserChoice,
    PixelNoiser,
    PoissonNoiser,
    RegionNoiser,
    SaltAndPepperNoiser,
)
from sk_denoise.noise._additive import AdditiveNoiser
from sk_denoise.noise._base import BaseNoiser
from sk_denoise.persistence._limits import check_moderate, check_windows
from sk_denoise.persistence._rules import (
    ANY_SAMPLES,
    Rule,
    are_numbers,
    in_words,
    is_count,
    is_image_shape,
    is_number,
    is_seed,
    is_shape,
)
from sk_denoise.persistence._transformers import TRANSFORMERS, check_transformer
from sk_denoise.preprocessing import Centerer, PixelScaler
from sk_denoise.preprocessing._pixels import _PixelTransformer
from sk_denoise.training import PRECISIONS, Units

__all__ = ["check_estimator", "check_fit"]

# Tests --------------------------------------------------------------------------------------------------


def is_for_samples(value: Any, estimator: Any) -> bool:
    """Return whether an array of numbers has one for each entry of a sample, or one for all."""
    return are_numbers(value, (), estimator._sample_shape_)


def are_limits(value: Any, estimator: Any) -> bool:
    return are_numbers(value, (2,), (2, estimator.n_features_in_)) and bool((value[0] <= value[1]).all())


def is_noiser(value: Any, estimator: Any = None) -> bool:
    """Return whether it is a noiser that was fitted to samples of the same size, or none at all."""
    return value is None or (isinstance(value, Noiser) and hasattr(value, "n_features_in_"))


def is_scaler(value: Any, shape: tuple[int, ...]) -> bool:
    return (
        isinstance(value, AffineScaler)
        and all(_broadcasts(part, shape) for part in (value.center, value.spread))
        and bool((value.spread >= 0).all())
    )


def _broadcasts(value: Any, shape: tuple[int, ...]) -> bool:
    """Return whether it is a tensor of finite numbers that goes with a batch of samples of a shape."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or not value.isfinite().all():
        return False
    batch = (1, *shape)
    own = (1,) * (len(batch) - value.ndim) + tuple(value.shape)
    return len(own) == len(batch) and all(a in (1, b) for a, b in zip(own, batch, strict=True))


def is_preparation(value: Any, estimator: Any) -> bool:
    if not isinstance(value, Preparation) or not _fits(value.layout, estimator):
        return False
    shape = value.layout.network_shape
    if isinstance(value.layout, ImageLayout):  # black and white, the same on both sides
        scalers = value.input_scaler, value.target_scaler
        return (
            value.input_limits is None
            and all(
                is_scaler(scaler, ()) and scaler.center.ndim == scaler.spread.ndim == 0 for scaler in scalers
            )
            and all(
                torch.equal(getattr(scalers[0], part), getattr(scalers[1], part))
                for part in ("center", "spread")
            )
        )
    limits = value.input_limits
    return (
        is_scaler(value.input_scaler, shape)
        and is_scaler(value.target_scaler, shape)
        and (limits is None or (isinstance(limits, tuple) and len(limits) == 2))
        and (limits is None or all(_broadcasts(limit, shape) for limit in limits))
    )


def _fits(layout: Any, estimator: Any) -> bool:
    """Return whether a layout is one that a fit to such samples settles on."""
    sample_shape = estimator._sample_shape_
    if isinstance(estimator, ImageDenoiser):
        patch = estimator.patch_shape_
        images = sample_shape if len(sample_shape) > 1 else (estimator.image_shape_ or (1, *sample_shape))
        return (
            type(layout) is ImageLayout
            and layout == ImageLayout(patch, patch)
            and (len(patch), patch[2:]) == (len(images), images[2:])
        )
    signals = estimator._factory().rows_are_signals
    return type(layout) is SampleLayout and layout == SampleLayout.of(
        sample_shape, layout.image_shape, signals
    )


def are_units(value: Any, estimator: Any) -> bool:
    shape = estimator._preparation_.layout.network_shape
    tensors_fit = (
        isinstance(value, Units) and _broadcasts(value.center, shape) and _broadcasts(value.spread, shape)
    )
    return tensors_fit and is_number(value.low) and is_number(value.data_range, 0)


def is_spectrum(value: Any, estimator: Any) -> bool:
    if not isinstance(value, _Spectrum) or not isinstance(value.axes, np.ndarray) or value.axes.ndim != 2:
        return False
    n, p = value.axes.shape
    if not 1 <= n <= p or p != estimator.n_features_in_:
        return False
    fits = are_numbers(value.axes, (n, p)) and are_numbers(value.variances, (n,))
    return fits and bool((value.variances >= 0).all()) and is_number(value.rest) and value.rest >= 0


def are_levels(value: Any, estimator: Any) -> bool:
    if value is None or estimator.sigma != "map":
        return value is None and estimator.sigma != "map"
    is_pair = isinstance(value, tuple) and len(value) == 2 and all(is_number(level) for level in value)
    return is_pair and 0 <= value[0] <= value[1]


def is_range(value: Any, _: Any) -> bool:
    """Return whether it is a range from black to white, or None."""
    if value is None:
        return True
    are_ends = type(value) is IntensityRange and is_number(value.black) and is_number(value.white)
    return are_ends and value.black < value.white


def is_judged(value: Any, estimator: Any) -> bool:
    is_pair = isinstance(value, tuple) and len(value) == 2 and type(value[0]) is str and is_count(value[1])
    return value is None or (is_pair and value[1] <= estimator.n_iter_)


def are_weights(value: Any, estimator: Any) -> bool:
    """Return whether they are None, or weights of the shapes and types of those of the network."""
    if value is None:
        return True
    net = estimator.net_
    own = net.module_.state_dict() if hasattr(net, "module_") else net.weights  # not built yet
    return (
        type(value) is dict
        and value.keys() == own.keys()
        and all(isinstance(value[name], Tensor) for name in own)
        and all((value[name].shape, value[name].dtype) == (own[name].shape, own[name].dtype) for name in own)
        and all(bool(weight.isfinite().all()) for weight in value.values())
    )


def are_members(value: Any, estimator: Any) -> bool:
    """Return whether it is a list of fitted networks for the samples of an ensemble."""
    return (
        type(value) is list
        and len(value) > 0
        and all(isinstance(member, NetworkDenoiser) and hasattr(member, "net_") for member in value)
        and {type(member) for member in value} == {type(value[0])}
        and all(member._sample_shape_ == estimator._sample_shape_ for member in value)
    )


def are_means(value: Any, estimator: Any) -> bool:
    size = value.size if isinstance(value, np.ndarray) and value.ndim < 2 else 0
    return size > 0 and are_numbers(value, value.shape) and estimator.n_features_in_ % size == 0


# The table ----------------------------------------------------------------------------------------------

COUNT = Rule(lambda v, _: is_count(v), "a count")
DENOISERS = {
    "_reference_noiser_": Rule(lambda v, _: is_noiser(v) and v is not None, "a fitted noiser"),
    "data_range_": Rule(lambda v, _: is_number(v, 0), "a number above 0"),
    "target_source_": Rule(lambda v, _: v in ("X_clean", "y", "noiser", "X"), "a rule"),
    "image_shape_": Rule(is_image_shape, "None, or the shape of an image of so many pixels"),
}
NUMBERS = Rule(lambda v, _: type(v) is list and all(type(x) is float for x in v), "a list of numbers")

FITTED: dict[type[Any], dict[str, Rule]] = {
    ClassicalDenoiser: {**ANY_SAMPLES, **DENOISERS},
    WienerDenoiser: {
        "sigma_": Rule(
            lambda v, _: v is None or (is_number(v) and v >= 0), "None, or a number of at least 0"
        ),
        "_unit_": Rule(
            lambda v, e: are_numbers(v, (1,), (e.n_features_in_,)) and bool((v > 0).all()), "numbers above 0"
        ),
        "mean_": Rule(lambda v, e: are_numbers(v, (e.n_features_in_,)), "a number for each feature"),
        "shrinkage_": Rule(lambda v, _: is_number(v), "a number"),
        "_spectrum_": Rule(is_spectrum, "the spectrum of so many features"),
    },
    NetworkDenoiser: {
        **ANY_SAMPLES,
        **DENOISERS,
        "noiser_": Rule(is_noiser, "None, or a fitted noiser"),
        "_noise_name_": Rule(lambda v, _: type(v) is str, "a name"),
        "_design_": Rule(lambda v, _: type(v) is dict, "a dict"),
        "_root_": Rule(lambda v, _: is_seed(v), "a seed"),
        "_n_runs_": COUNT,
        "intensity_range_": Rule(is_range, "None, or two numbers, black and white"),
        "precision_": Rule(lambda v, _: v in PRECISIONS, "a precision", required=False),
        "n_iter_": COUNT,
        "loss_curve_": NUMBERS,
        "validation_scores_": Rule(
            lambda v, e: v is None or NUMBERS.test(v, e), "None, or a list of numbers"
        ),
    },
    DenoisingAutoencoder: {
        "image_shape_": Rule(lambda v, e: v == e._preparation_.layout.image_shape, "that of its layout"),
    },
    ImageDenoiser: {
        "patch_shape_": Rule(lambda v, _: is_shape(v, (2, 3)), "the shape of a patch"),
        "_strongest_noise_": Rule(lambda v, _: is_number(v) and v >= 0, "a number of at least 0"),
        "noise_levels_": Rule(are_levels, 'two levels of noise with sigma="map", else None'),
    },
    DenoisingEnsemble: {
        **ANY_SAMPLES,
        "estimators_": Rule(are_members, "a list of networks fitted to such samples"),
        "gain_": Rule(lambda v, _: is_number(v) and v >= 0, "a number of at least 0"),
        "floor_": Rule(
            lambda v, e: is_number(v) or are_numbers(v, (e.n_features_in_,)),
            "a number, or one for each feature",
        ),
        "image_shape_": Rule(is_image_shape, "None, or the shape of an image of so many pixels"),
    },
    BaseNoiser: ANY_SAMPLES,
    AdditiveNoiser: {"scale_": Rule(is_for_samples, "a number, or one for each entry of a sample")},
    PoissonNoiser: {"white_": Rule(is_for_samples, "a number, or one for each entry of a sample")},
    MaskingNoiser: {"fill_": Rule(is_for_samples, "a number, or one for each entry of a sample")},
    SaltAndPepperNoiser: {"limits_": Rule(are_limits, "two limits for all, or for each feature")},
    PixelNoiser: {"limits_": Rule(are_limits, "two limits for all, or for each feature")},
    RegionNoiser: {"noiser_": Rule(lambda v, _: v is not None and is_noiser(v), "a fitted noiser")},
    _PixelTransformer: {
        **ANY_SAMPLES,
        "dtype_": Rule(lambda v, _: isinstance(v, np.dtype) and v.kind in "biuf", "a type of numbers"),
    },
    PixelScaler: {
        "range_": Rule(
            lambda v, _: isinstance(v, tuple) and len(v) == 2 and all(map(is_number, v)) and v[0] <= v[1],
            "a pair (low, high)",
        )
    },
    Centerer: {"mean_": Rule(are_means, "a mean of each channel, or one")},
}
for _kind in (NoiserChain, NoiserChoice):
    FITTED[_kind] = {
        "noisers_": Rule(
            lambda v, e: (
                type(v) is list
                and len(v) == len(e.noisers)
                and all(n is not None and is_noiser(n) for n in v)
            ),
            "a fitted noiser for each",
        )
    }
# Last, as they look at what else there is; the cost is counted anew from the network
NEEDS_ALL: dict[type[Any], dict[str, Rule]] = {
    NetworkDenoiser: {
        "_preparation_": Rule(is_preparation, "the scaling of such samples"),
        "_units_": Rule(are_units, "the unit of such samples"),
        "_cost_": Rule(lambda v, _: isinstance(v, Cost), "a cost"),
        "net_": Rule(lambda v, _: v is not None, "a net"),
        "_judged_": Rule(is_judged, "None, or a name and an epoch", required=False),
        "_best_weights_": Rule(are_weights, "None, or weights of such a network", required=False),
    }
}


def check_estimator(estimator: Any) -> None:
    """Refuse parameters and fitted state that an estimator of ours cannot work with."""
    check_moderate(estimator)
    own_check = getattr(estimator, "_check_parameters", None)
    if own_check is not None:
        own_check()
    elif hasattr(estimator, "_parameter_constraints") and type(estimator).__module__.startswith("sk_denoise"):
        check_parameters(estimator, estimator._parameter_constraints)
    elif type(estimator) in TRANSFORMERS:
        check_transformer(estimator)
    elif isinstance(estimator, Pipeline):
        _check_steps(estimator.steps)
    elif isinstance(estimator, FrozenEstimator) and not isinstance(estimator.estimator, BaseEstimator):
        raise ValueError(f"a FrozenEstimator cannot hold {in_words(estimator.estimator)}")
    check_windows(estimator)
    check_fit(estimator)


def _check_steps(steps: Any) -> None:
    """Refuse steps that no pipeline can have."""
    are_steps = (
        isinstance(steps, list)
        and len(steps) > 0
        and all(isinstance(step, tuple) and len(step) == 2 and isinstance(step[0], str) for step in steps)
    )
    if not are_steps:
        raise ValueError(f"the steps of a Pipeline cannot be {steps!r:.60}")
    if len({name for name, _ in steps}) < len(steps):
        raise ValueError("two steps of a Pipeline have one name")
    for name, part in steps:
        if not (part is None or part == "passthrough" or hasattr(part, "fit")):
            raise ValueError(f"the step {name[:40]!r} of a Pipeline cannot be {in_words(part)}")


def check_fit(estimator: Any) -> None:
    """Refuse fitted state that does not belong together."""
    rules = _rules_for(estimator)
    learned = vars(estimator).keys() & rules.keys()
    if not learned:
        return
    for name, rule in rules.items():
        if name not in learned and rule.required:
            raise ValueError(f"{type(estimator).__name__} lacks {name}, and has {min(learned)}")
        if name in learned and not rule.test(getattr(estimator, name), estimator):
            value = in_words(getattr(estimator, name))
            raise ValueError(f"{name} of {type(estimator).__name__} must be {rule.says}, and is {value}")


def _rules_for(estimator: Any) -> dict[str, Rule]:
    if type(estimator) in TRANSFORMERS:
        return TRANSFORMERS[type(estimator)]
    tables = (FITTED, NEEDS_ALL)
    found = [rules for table in tables for kind, rules in table.items() if isinstance(estimator, kind)]
    return {name: rule for rules in found for name, rule in rules.items()}
