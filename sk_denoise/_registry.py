"""Tables of networks, noises, losses, optimizers, schedules, filters and models.

The estimators, the command line, the web app and the site offer a new entry without further edits.
"""

from __future__ import annotations

# The standard library alone, so that help and completion do not wait for torch. An entry names its class as
# text, and load_entry imports it when it is used.
import difflib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = [
    "FILTERS",
    "GREY_LEVELS",
    "LOSSES",
    "ENLARGERS",
    "MODELS",
    "NETWORKS",
    "NOISES",
    "NOISE_KINDS",
    "OBJECTIVES",
    "OPTIMIZERS",
    "OTHER_NAMES",
    "RESTORERS",
    "SCHEDULES",
    "SIGNAL_FILTERS",
    "Amount",
    "FilterEntry",
    "LazyTable",
    "LossEntry",
    "LossTraits",
    "NoiseKind",
    "NetworkEntry",
    "NoiseEntry",
    "OptimizerEntry",
    "PretrainedEntry",
    "RegistryEntry",
    "Unit",
    "check_one_of",
    "load_entry",
    "networks_of",
    "public_names",
]

T = TypeVar("T")


# Entries ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RegistryEntry:
    """Class or function with a name.

    Attributes
    ----------
    location : str
        Module and name of the class or function, as "module:name".
    description : str
        Short description for help texts and the tables of the site.
    use_cases : str
        Data and purposes that it suits.
    """

    location: str
    description: str = ""
    use_cases: str = ""

    @property
    def name(self) -> str:
        """Name of the class or function."""
        return self.location.partition(":")[2]


@dataclass(frozen=True, kw_only=True)
class NetworkEntry(RegistryEntry):
    """Spec of a network.

    Attributes
    ----------
    estimator : str
        Estimator that trains the network: "DenoisingAutoencoder", "ImageDenoiser" or "SignalDenoiser".
    """

    estimator: str


@dataclass(frozen=True)
class Unit:
    """Unit of a slider in the app.

    Attributes
    ----------
    size : float
        Amount of noise, for images in [0, 1], that is one of the unit.
    suffix : str
        Text after the label of the slider.
    """

    size: float
    suffix: str


# Users think of images in grey levels and percent; noisers work in [0, 1].
GREY_LEVELS = Unit(1 / 255, ", of 255")
PERCENT = Unit(1 / 100, ", in %")
TENTHS_OF_PIXELS = Unit(1 / 10, ", in tenths of a pixel")
THOUSANDTHS = Unit(1 / 1000, ", in thousandths of white")
COUNT = Unit(1.0, "")


@dataclass(frozen=True, kw_only=True)
class Amount:
    """Parameter of a noise that sets its strength, for images in [0, 1].

    The number of the slider in the app times the size of its unit is the amount.

    Attributes
    ----------
    parameter : str
        Name of the parameter of the noiser.
    description : str
        Description of the amount for the command line.
    max_value : float
        Largest amount; the smallest one is 0.
    above_zero : bool
        Whether the amount must be above 0.
    label : str
        Label of the slider.
    unit : Unit
        Unit of the slider, which starts at 1 and has steps of 1.
    slider_start, slider_max : int
        First and largest number of the slider.
    """

    parameter: str
    description: str
    max_value: float = 1.0
    above_zero: bool = False
    label: str
    unit: Unit
    slider_start: int
    slider_max: int


@dataclass(frozen=True, kw_only=True)
class NoiseEntry(RegistryEntry):
    """Noiser and the facts about it that need no fit.

    Attributes
    ----------
    label : str
        Name of the noise for users who do not know the class.
    amount : Amount or None
        Parameter that sets the strength on images; None for noise with a part that has no default, and for
        noise of tables or signals.
    made_of : str
        Part without a default, for messages; empty for all other noise.
    fixed_parameters : mapping
        Values for images in [0, 1] of parameters that a fit would learn from each image.
    mixes_samples : bool
        Whether the noise takes values from other samples, so that a single image cannot have it.
    needs_whole_image : bool
        Whether the noise of a band of rows depends on the other rows.
    images_only : bool
        Whether the noise is for images, and not for rows.
    changes_size : bool
        Whether noisy images are smaller than clean ones. Command line and app offer noise that keeps the
        size, and has an amount.
    """

    label: str
    amount: Amount | None = None
    made_of: str = ""
    fixed_parameters: Mapping[str, Any] = field(default_factory=dict)
    mixes_samples: bool = False
    needs_whole_image: bool = False
    images_only: bool = False
    changes_size: bool = False


@dataclass(frozen=True, kw_only=True)
class LossTraits:
    """Properties of a loss that a fit depends on.

    Attributes
    ----------
    on_unit_interval : bool
        Whether the loss compares numbers in [0, 1]. If so, the target is not scaled, and the output of the
        network is limited to [0, 1].
    takes_entry_weights : bool
        Whether the loss takes a weight for each entry.
    takes_sample_weights : bool
        Whether the loss takes a weight for each sample.
    images_only : bool
        Whether the loss is for images only, ``(n, channels, height, width)``.
    by_block : bool
        Whether the loss compares the blocks of a one-hot encoding as probabilities. If so, their targets are
        not scaled.
    """

    on_unit_interval: bool = False
    takes_entry_weights: bool = False
    takes_sample_weights: bool = False
    images_only: bool = False
    by_block: bool = False


@dataclass(frozen=True, kw_only=True)
class LossEntry(RegistryEntry, LossTraits):
    """Loss: a function or a class of modules.

    A function takes output, target and ``reduction`` ("mean" or "none"), as those of
    :mod:`torch.nn.functional` do. A class takes :class:`~sk_denoise.training.Units` where the loss is for
    images only or by block, and no argument otherwise.
    """

    # Losses of the tables can reduce each sample by itself; functions of users return one number.
    takes_sample_weights: bool = True


@dataclass(frozen=True, kw_only=True)
class OptimizerEntry(RegistryEntry):
    """Optimizer and a suitable learning rate.

    Attributes
    ----------
    learning_rate : float
        Default learning rate.
    arguments : mapping
        Further arguments of the class.
    """

    learning_rate: float
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FilterEntry(RegistryEntry):
    """Denoiser without a network.

    Attributes
    ----------
    extra : str
        Extra that installs the package that the filter needs.
    notice : str
        Message to users of the command line.
    min_side : int
        Smallest side of an image in pixels.
    """

    extra: str = ""
    notice: str = ""
    min_side: int = 1


@dataclass(frozen=True, kw_only=True)
class NoiseKind:
    """Kind of noise that denoising takes as given.

    Attributes
    ----------
    label : str
        Name of the kind in the app.
    description : str
        Short description for help texts.
    """

    label: str
    description: str


@dataclass(frozen=True, kw_only=True)
class PretrainedEntry(RegistryEntry):
    """Network with weights in ``restoration/weights``.

    Attributes
    ----------
    label : str
        Name of the model for users.
    channels : int
        Channels of an image, 1 or 3.
    max_sigma : float
        Largest noise standard deviation in training, in [0, 1].
    error : float
        Mean error of the output for images with hardly any noise, in [0, 1].
    is_blind : bool
        Whether the network takes no noise level.
    """

    label: str
    channels: int
    max_sigma: float
    error: float
    is_blind: bool = False


# Tables -----------------------------------------------------------------------------------------------

NETWORKS: dict[str, NetworkEntry] = {
    "dense": NetworkEntry(
        location="sk_denoise.networks.dense:DenseNetwork",
        estimator="DenoisingAutoencoder",
        description="fully connected layers: each output depends on every entry",
        use_cases="tables, small images of one kind",
    ),
    "conv": NetworkEntry(
        location="sk_denoise.networks.conv:ConvNetwork",
        estimator="DenoisingAutoencoder",
        description="strided convolutions, a latent vector, transposed convolutions",
        use_cases="signals, images of one kind: digits, faces, X-rays of one region",
    ),
    "pooling": NetworkEntry(
        location="sk_denoise.networks.pooling:PoolingNetwork",
        estimator="DenoisingAutoencoder",
        description="convolutions and pooling to a small latent map, and back",
        use_cases="images of many kinds and textures, where position means little",
    ),
    "folded_unet": NetworkEntry(
        location="sk_denoise.networks.folded_unet:FoldedUNetNetwork",
        estimator="ImageDenoiser",
        description="a small residual U-Net on images folded to half their sides; default, and pretrained",
    ),
    "unet": NetworkEntry(
        location="sk_denoise.networks.unet:UNetNetwork",
        estimator="ImageDenoiser",
        description="a U-Net of any depth",
    ),
    "dncnn": NetworkEntry(
        location="sk_denoise.networks.dncnn:DnCNNNetwork",
        estimator="ImageDenoiser",
        description="a stack of convolutions at full resolution",
    ),
    "ridnet": NetworkEntry(
        location="sk_denoise.networks.ridnet:RIDNetNetwork",
        estimator="ImageDenoiser",
        description="residual blocks with channel attention; the most operations for each pixel",
    ),
    "signal_unet": NetworkEntry(
        location="sk_denoise.networks.signal_unet:SignalUNetNetwork",
        estimator="SignalDenoiser",
        description="a residual U-Net along time; default",
    ),
    "dilated": NetworkEntry(
        location="sk_denoise.networks.dilated:DilatedNetwork",
        estimator="SignalDenoiser",
        description="residual blocks of dilated convolutions at full resolution",
    ),
}

NOISES: dict[str, NoiseEntry] = {
    "gaussian": NoiseEntry(
        location="sk_denoise.noise._additive:GaussianNoiser",
        label="Gaussian",
        description="adds `N(mean, noise_factor²)`",
        use_cases="sensors, tables",
        amount=Amount(
            parameter="noise_factor",
            description="standard deviation; 0.1 is 25.5 grey levels of 255",
            label="Standard deviation",
            unit=GREY_LEVELS,
            slider_start=25,
            slider_max=128,
        ),
    ),
    "uniform": NoiseEntry(
        location="sk_denoise.noise._additive:UniformNoiser",
        label="Uniform",
        description="adds `U(-noise_factor, noise_factor)`",
        use_cases="rounding, coarse scales",
        amount=Amount(
            parameter="noise_factor",
            description="half the width: noise from -AMOUNT to AMOUNT",
            label="Largest deviation",
            unit=GREY_LEVELS,
            slider_start=40,
            slider_max=128,
        ),
    ),
    "speckle": NoiseEntry(
        location="sk_denoise.noise._additive:SpeckleNoiser",
        label="Speckle",
        description="multiplies by `1 + N(0, noise_factor²)`",
        use_cases="radar, ultrasound",
        amount=Amount(
            parameter="noise_factor",
            description="standard deviation as a share of each value",
            max_value=10.0,
            label="Relative standard deviation",
            unit=PERCENT,
            slider_start=20,
            slider_max=100,
        ),
    ),
    "poisson": NoiseEntry(
        location="sk_denoise.noise._additive:PoissonNoiser",
        label="Photon counting (Poisson)",
        description="counts photons, on average `peak` at white",
        use_cases="microscopes, telescopes, scans",
        amount=Amount(
            parameter="peak",
            description="mean number of photons at white; fewer photons, more noise",
            max_value=1e9,
            above_zero=True,
            label="Photons at white",
            unit=COUNT,
            slider_start=30,
            slider_max=200,
        ),
        # Learned from each image, white would give a dark image as little noise as a bright one.
        fixed_parameters={"white": 1.0},
    ),
    "salt_and_pepper": NoiseEntry(
        location="sk_denoise.noise._replacing:SaltAndPepperNoiser",
        label="Salt and pepper",
        description="sets values to the largest or smallest",
        use_cases="lost bits, dust",
        amount=Amount(
            parameter="amount",
            description="share of the values that turn black or white",
            label="Replaced values",
            unit=PERCENT,
            slider_start=5,
            slider_max=60,
        ),
        # Black and white, although an image may reach neither.
        fixed_parameters={"limits": (0.0, 1.0)},
    ),
    "masking": NoiseEntry(
        location="sk_denoise.noise._replacing:MaskingNoiser",
        label="Missing values",
        description="sets values to `fill`",
        use_cases="missing entries, features",
        amount=Amount(
            parameter="fraction",
            description="share of the values that turn black",
            label="Missing values",
            unit=PERCENT,
            slider_start=20,
            slider_max=80,
        ),
    ),
    "copied_mask": NoiseEntry(
        location="sk_denoise.noise._replacing:CopiedMaskNoiser",
        label="Missing values of other samples",
        description="sets values to `fill` that other samples lack",
        use_cases="columns that are missing together",
    ),
    "swap": NoiseEntry(
        location="sk_denoise.noise._replacing:SwapNoiser",
        label="Swapped values",
        description="replaces values by those of other samples, each from a donor of its own",
        use_cases="tables with columns of several kinds",
        amount=Amount(
            parameter="fraction",
            description="share of the values from other patches; only for train",
            label="Swapped values",
            unit=PERCENT,
            slider_start=20,
            slider_max=80,
        ),
        # The donors are other samples.
        mixes_samples=True,
    ),
    "pixel": NoiseEntry(
        location="sk_denoise.noise._replacing:PixelNoiser",
        label="Single pixels",
        description="sets whole pixels to black, white or a random colour",
        use_cases="dead pixels",
        amount=Amount(
            parameter="fraction",
            description="share of the pixels that turn to a random colour",
            label="Replaced pixels",
            unit=PERCENT,
            slider_start=10,
            slider_max=60,
        ),
        # Black and white, although an image may reach neither.
        fixed_parameters={"limits": (0.0, 1.0)},
    ),
    "grain": NoiseEntry(
        location="sk_denoise.noise._recording:GrainNoiser",
        label="Grain",
        description="adds Gaussian noise that is correlated between neighbours",
        use_cases="film, smoothed images, filtered signals",
        amount=Amount(
            parameter="noise_factor",
            description="standard deviation; neighbours have related noise",
            label="Standard deviation",
            unit=GREY_LEVELS,
            slider_start=25,
            slider_max=128,
        ),
    ),
    "stripe": NoiseEntry(
        location="sk_denoise.noise._recording:StripeNoiser",
        label="Stripes",
        description="adds an offset to each row or each column",
        use_cases="detectors, scanners",
        amount=Amount(
            parameter="noise_factor",
            description="standard deviation of the offset of each row",
            label="Standard deviation",
            unit=GREY_LEVELS,
            slider_start=10,
            slider_max=128,
        ),
        images_only=True,
    ),
    "jpeg": NoiseEntry(
        location="sk_denoise.noise._cameras:JPEGNoiser",
        label="JPEG compression",
        description="compresses images as JPEG files of the given `quality`",
        use_cases="images from the web and from cameras",
        amount=Amount(
            parameter="quality",
            description="quality of the JPEG file, from 1 to 100; lower is worse",
            max_value=100.0,
            above_zero=True,
            label="Quality",
            unit=COUNT,
            slider_start=20,
            slider_max=100,
        ),
        fixed_parameters={"limits": (0.0, 1.0)},
        needs_whole_image=True,
        images_only=True,
    ),
    "camera": NoiseEntry(
        location="sk_denoise.noise._cameras:CameraNoiser",
        label="Camera (sensor, processing, JPEG)",
        description="adds sensor noise, and processes it as cameras do",
        use_cases="photos of phones and cameras",
        amount=Amount(
            parameter="shot",
            description="variance of the sensor noise at white; 0.01 is a dark room",
            above_zero=True,
            label="Sensor noise",
            unit=THOUSANDTHS,
            slider_start=5,
            slider_max=40,
        ),
        fixed_parameters={"limits": (0.0, 1.0)},
        needs_whole_image=True,
        images_only=True,
    ),
    "blur": NoiseEntry(
        location="sk_denoise.noise._degradations:BlurNoiser",
        label="Blur",
        description="blurs by a Gaussian, motion, defocus or kernels of yours",
        use_cases="lenses, shaken cameras, spectrometers",
        amount=Amount(
            parameter="sigma",
            description="standard deviation of the Gaussian kernel in pixels",
            max_value=50.0,
            label="Width of the blur",
            unit=TENTHS_OF_PIXELS,
            slider_start=15,
            slider_max=60,
        ),
        needs_whole_image=True,
    ),
    "downscale": NoiseEntry(
        location="sk_denoise.noise._degradations:DownscaleNoiser",
        label="Fewer pixels",
        description="reduces images to a half, a third or a quarter of their sides",
        use_cases="small images that are to be enlarged",
        images_only=True,
        changes_size=True,
    ),
    "recorded": NoiseEntry(
        location="sk_denoise.noise._recording:RecordedNoiser",
        label="Recorded noise",
        description="adds parts of recorded noise, at a signal-to-noise ratio `snr`",
        use_cases="dark frames, room tone, motion of electrodes",
        made_of="recordings",
    ),
    # Noise of signals has no amount, because the command line and the app add noise to images.
    "baseline_wander": NoiseEntry(
        location="sk_denoise.noise._signal_noise:BaselineWanderNoiser",
        label="Baseline wander",
        description="adds a slow drift to signals, below `max_frequency`",
        use_cases="electrodes, spectra",
    ),
    "hum": NoiseEntry(
        location="sk_denoise.noise._signal_noise:HumNoiser",
        label="Mains hum",
        description="adds a wave of 50 or 60 Hz and its harmonics to signals",
        use_cases="cables and electrodes near the mains",
        made_of="a sampling rate",
    ),
    "region": NoiseEntry(
        location="sk_denoise.noise._composed:RegionNoiser",
        made_of="other noise",
        label="On a part of the image",
        description="applies any noise to a random part of each sample",
        use_cases="scratches, stains",
    ),
    "choice": NoiseEntry(
        location="sk_denoise.noise._composed:NoiserChoice",
        made_of="other noise",
        label="One of several",
        description="applies one of several noises to each sample",
        use_cases="data with noise of more than one kind",
    ),
    "chain": NoiseEntry(
        location="sk_denoise.noise._composed:NoiserChain",
        made_of="other noise",
        label="One after the other",
        description="applies several noises, one after the other",
        use_cases="cameras: photons, then the amplifier",
    ),
}

LOSSES: dict[str, LossEntry] = {
    "mse": LossEntry(
        location="torch.nn.functional:mse_loss",
        description="squared error, minimized by the mean of the possible targets",
        use_cases="PSNR; the default",
        takes_entry_weights=True,
    ),
    "mae": LossEntry(
        location="torch.nn.functional:l1_loss",
        description="absolute error, minimized by the median of the possible targets",
        use_cases="noise that replaces values; sharper edges",
        takes_entry_weights=True,
    ),
    "huber": LossEntry(
        location="torch.nn.functional:huber_loss",
        description="half the squared error below one unit of the network, linear above",
        use_cases='like "mae", with fewer jumps near the end',
        takes_entry_weights=True,
    ),
    "charbonnier": LossEntry(
        location="sk_denoise.training._losses:charbonnier_loss",
        description="absolute error that is smooth at 0",
        use_cases='like "mae"',
        takes_entry_weights=True,
    ),
    "bce": LossEntry(
        location="sk_denoise.training._losses:BinaryCrossEntropy",
        description="cross-entropy through a sigmoid",
        use_cases="data that are mostly 0 and 1",
        takes_entry_weights=True,
        on_unit_interval=True,
    ),
    "kl": LossEntry(
        location="sk_denoise.training._losses:KullbackLeibler",
        description="`t log(t / p) - t + p` of each value, through a sigmoid",
        use_cases="photon counts: errors in the dark weigh more",
        takes_entry_weights=True,
        on_unit_interval=True,
    ),
    "mixed": LossEntry(
        location="sk_denoise.training._losses:MixedLoss",
        description="cross-entropy of the categories of a one-hot encoding, squared error of other columns",
        use_cases="tables with categories, whose predictions are probabilities",
        takes_entry_weights=True,
        by_block=True,
    ),
    "ssim": LossEntry(
        location="sk_denoise.training._losses:SimilarityLoss",
        description="one minus structural similarity",
        use_cases="perceived quality",
        images_only=True,
    ),
    "ms_ssim": LossEntry(
        location="sk_denoise.training._losses:MultiScaleSimilarityLoss",
        description="the same on up to five scales",
        use_cases="perceived quality, from near and far",
        images_only=True,
    ),
}

# Fused steps update all weights in one kernel, where torch has them.
OPTIMIZERS: dict[str, OptimizerEntry] = {
    "adam": OptimizerEntry(location="torch.optim:Adam", learning_rate=2e-3, arguments={"fused": True}),
    "adamw": OptimizerEntry(location="torch.optim:AdamW", learning_rate=2e-3, arguments={"fused": True}),
    "nadam": OptimizerEntry(location="torch.optim:NAdam", learning_rate=2e-3),
    "radam": OptimizerEntry(location="torch.optim:RAdam", learning_rate=4e-3),
    "rmsprop": OptimizerEntry(location="torch.optim:RMSprop", learning_rate=1e-3),
    "sgd": OptimizerEntry(
        location="torch.optim:SGD", learning_rate=5e-2, arguments={"fused": True, "momentum": 0.9}
    ),
    "adagrad": OptimizerEntry(location="torch.optim:Adagrad", learning_rate=1e-2, arguments={"fused": True}),
    "adadelta": OptimizerEntry(location="torch.optim:Adadelta", learning_rate=1.0),
}

# Functions from the number of past steps and of all steps to the factor of the learning rate
SCHEDULES: dict[str, RegistryEntry] = {
    "constant": RegistryEntry(
        location="sk_denoise.training._optimizers:constant", description="stays the same"
    ),
    "cosine": RegistryEntry(
        location="sk_denoise.training._optimizers:cosine",
        description="falls along a cosine from the start to zero",
    ),
    "flat_cosine": RegistryEntry(
        location="sk_denoise.training._optimizers:flat_cosine",
        description="is constant for the first half, and then falls along a cosine to zero",
    ),
    "linear": RegistryEntry(
        location="sk_denoise.training._optimizers:linear", description="falls on a line to zero"
    ),
    "exponential": RegistryEntry(
        location="sk_denoise.training._optimizers:exponential",
        description="falls to a hundredth, ever more slowly",
    ),
    "one_cycle": RegistryEntry(
        location="sk_denoise.training._optimizers:one_cycle",
        description="rises for a third of the run, and then falls along a cosine",
    ),
}

FILTERS: dict[str, FilterEntry] = {
    "non_local_means": FilterEntry(
        location="sk_denoise.estimators._filters:NonLocalMeansDenoiser",
        description="averages pixels with similar surroundings",
        use_cases="texture, repeated structure",
    ),
    "total_variation": FilterEntry(
        location="sk_denoise.estimators._filters:TotalVariationDenoiser",
        description="flattens images between their edges",
        use_cases="flat areas; texture is lost",
    ),
    "wavelet": FilterEntry(
        location="sk_denoise.estimators._filters:WaveletDenoiser",
        description="shrinks wavelet coefficients",
        use_cases="smooth areas between edges",
        extra="wavelets",
    ),
    "bilateral": FilterEntry(
        location="sk_denoise.estimators._filters:BilateralDenoiser",
        description="averages nearby pixels of similar value",
        use_cases="weak noise",
    ),
    "median": FilterEntry(
        location="sk_denoise.estimators._filters:MedianDenoiser",
        description="takes the median of the neighbourhood; needs no noise level",
        use_cases="salt and pepper, single broken pixels",
    ),
    "wiener": FilterEntry(
        location="sk_denoise.estimators._wiener:WienerDenoiser",
        description="linear filter of least squared error, fitted to clean data",
        use_cases="tables; images of the same thing in the same place",
        notice="wiener is fitted to 8 x 8 patches of scikit-image's photos, not to the folder.",
        # Side of the patches that the command line fits it to.
        min_side=8,
    ),
    "bm3d": FilterEntry(
        location="sk_denoise.estimators._filters:BM3DDenoiser",
        description="filters groups of similar blocks; NON-COMMERCIAL use only",
        use_cases="photos, where no network is suitable; by far the slowest",
        extra="bm3d",
        # The terms must be visible wherever the filter is offered.
        notice="The licence of bm3d allows NON-COMMERCIAL use only.",
    ),
}

# Filters that take signals alone, in place of images
SIGNAL_FILTERS: dict[str, FilterEntry] = {
    "savitzky_golay": FilterEntry(
        location="sk_denoise.estimators._signal_filters:SavitzkyGolayDenoiser",
        description="fits a polynomial to each window of a signal",
        use_cases="spectra, smooth signals with peaks",
    ),
    "band_pass": FilterEntry(
        location="sk_denoise.estimators._signal_filters:BandPassDenoiser",
        description="keeps a band of frequencies, without a shift in time",
        use_cases="baseline wander, hum, noise beside a known band",
    ),
}

# Filters that invert a known blur, or change the size: no denoisers
RESTORERS: dict[str, FilterEntry] = {
    "wiener_deconvolution": FilterEntry(
        location="sk_denoise.estimators._deconvolution:WienerDeconvolver",
        description="inverts a known blur by a linear filter",
        use_cases="blurred images and spectra; fast, and finds its strength",
    ),
    "richardson_lucy": FilterEntry(
        location="sk_denoise.estimators._deconvolution:RichardsonLucyDeconvolver",
        description="inverts a known blur by iterations, never below black",
        use_cases="stars, microscopes, counts of light",
    ),
    "bicubic": FilterEntry(
        location="sk_denoise.estimators._deconvolution:BicubicEnlarger",
        description="enlarges by bicubic interpolation",
        use_cases="the reference of super-resolution",
    ),
}

MODELS: dict[str, PretrainedEntry] = {
    "gray": PretrainedEntry(
        location="sk_denoise.networks.folded_unet:FoldedUNetNetwork",
        label="Gray, channel by channel",
        channels=1,
        max_sigma=55 / 255,
        error=1.4 / 255,
    ),
    "rgb": PretrainedEntry(
        location="sk_denoise.networks.folded_unet:FoldedUNetNetwork",
        label="Colour",
        channels=3,
        max_sigma=55 / 255,
        error=0.4 / 255,
    ),
    "camera": PretrainedEntry(
        location="sk_denoise.networks.folded_unet:FoldedUNetNetwork",
        label="Camera and JPEG, without a level",
        channels=3,
        max_sigma=40 / 255,
        error=0.7 / 255,
        is_blind=True,
    ),
}

# Networks whose output is larger than the image.
ENLARGERS: dict[str, PretrainedEntry] = {
    "enlarge": PretrainedEntry(
        location="sk_denoise.networks.folded_unet:FoldedUNetNetwork",
        label="Twice the size",
        channels=3,
        max_sigma=40 / 255,
        error=0.7 / 255,
        is_blind=True,
    ),
}

# Values of the argument noise of denoise_image, as words of the command line and the app.
NOISE_KINDS: dict[str, NoiseKind] = {
    "auto": NoiseKind(label="Automatic", description="estimated from the image"),
    "white": NoiseKind(label="White", description="of one level, independent in each pixel"),
    "counts": NoiseKind(label="Counts", description="grows with the brightness, as that of photons"),
    "camera": NoiseKind(
        label="Camera or JPEG", description="correlated between neighbours, as in developed photos"
    ),
}

# Public names without an entry above, by their module. All networks, noises and filters are public.
OBJECTIVES: dict[str, RegistryEntry] = {
    "recorrupt": RegistryEntry(
        location="sk_denoise.training._objectives:RecorruptObjective",
        description="splits known noise into independent parts, and learns one part from the other",
        use_cases="tables, signals and images with noise of known or estimated level",
    ),
    "neighbours": RegistryEntry(
        location="sk_denoise.training._objectives:NeighboursObjective",
        description="learns pixels from those beside them",
        use_cases="images and signals with noise that is independent between pixels",
    ),
    "blind": RegistryEntry(
        location="sk_denoise.training._objectives:BlindSpotObjective",
        description="learns hidden entries from the others",
        use_cases="tables, signals and images with independent noise of unknown level",
    ),
}

OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "_dask_backend": ("parallel_dask",),
    "_long_rows": ("predict_to_file",),
    "comparison": ("compare_restorers",),
    "estimators": (
        "DenoisingAutoencoder",
        "DenoisingEnsemble",
        "DenoisingImputer",
        "ImageDenoiser",
        "NetworkSummary",
        "PosteriorMeanDenoiser",
        "SignalDenoiser",
        "WienerMixtureDenoiser",
        "fit_in_rounds",
    ),
    "exceptions": (
        "CleanTargetWarning",
        "LostProcessError",
        "MissingExtraError",
        "NoiseMismatchWarning",
        "SkippedImageWarning",
        "TrainingDivergedError",
        "UnreadableImageError",
        "UnreadableSignalError",
        "WeakNoiseWarning",
    ),
    "metrics": (
        "estimate_quality",
        "make_denoising_scorer",
        "make_imputation_scorer",
        "make_robustness_scorer",
        "make_self_supervised_scorer",
    ),
    "preprocessing": (
        "Augmenter",
        "Centerer",
        "PixelScaler",
        "SignalAugmenter",
        "TableEncoder",
        "VarianceStabilizer",
    ),
}


# Functions --------------------------------------------------------------------------------------------


def check_one_of(name: object, table: Mapping[str, T], kind: str) -> T:
    """Return the entry called ``name``; the error lists the known names."""
    if isinstance(name, str) and name in table:
        return table[name]
    nearest = difflib.get_close_matches(str(name), table, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(map(repr, table))}.")


def load_entry(entry: RegistryEntry) -> Any:
    """Import the module of an entry and return its class or function."""
    module, _, name = entry.location.partition(":")
    return getattr(importlib.import_module(module), name)


class LazyTable(Mapping[str, T]):
    """Table of classes or functions, each of which loads at its first use.

    Parameters
    ----------
    table : mapping of str to RegistryEntry
        Entries by name.
    """

    def __init__(self, table: Mapping[str, RegistryEntry]) -> None:
        self._table = table

    def __getitem__(self, name: str) -> T:
        loaded: T = load_entry(self._table[name])
        return loaded

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    # Mapping's own method would import the class.
    def __contains__(self, name: object) -> bool:
        return name in self._table

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: {entry.name}' for name, entry in self._table.items())}}}"


def networks_of(estimator: str) -> dict[str, NetworkEntry]:
    """Return the networks that an estimator trains."""
    return {name: network for name, network in NETWORKS.items() if network.estimator == estimator}


def public_names() -> dict[str, list[str]]:
    """Return the public names of the package by the module that defines them."""
    names = {module: list(others) for module, others in OTHER_NAMES.items()}
    tables: tuple[Mapping[str, RegistryEntry], ...] = (
        NETWORKS,
        NOISES,
        FILTERS,
        SIGNAL_FILTERS,
        RESTORERS,
        OBJECTIVES,
    )
    for entry in (entry for table in tables for entry in table.values()):
        module = entry.location.partition(":")[0].partition(".")[2]
        names.setdefault(module, []).append(entry.name)
    return names
