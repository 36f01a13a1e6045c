"""The tables of everything that has a name: networks, noises, losses, optimizers, filters, models.

A new entry here is all that the estimators, the command line, the web app and the pages of the site need to
offer it. The module imports the standard library alone, so that help and completion do not wait for torch: an
entry names its class as text, and :func:`load` imports it when it is used.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = [
    "FILTERS",
    "GREY_LEVELS",
    "LOSSES",
    "MODELS",
    "NETWORKS",
    "NOISES",
    "OPTIMIZERS",
    "OTHER_NAMES",
    "SCHEDULES",
    "Amount",
    "Entry",
    "Filter",
    "Loaded",
    "Loss",
    "LossTraits",
    "Network",
    "Noise",
    "Optimizer",
    "Pretrained",
    "Unit",
    "check_one_of",
    "load",
    "networks_of",
    "public_names",
]

T = TypeVar("T")


# Entries ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that has a name.

    Attributes
    ----------
    target : str
        The class or function, as "module:name".
    about : str
        The thing in a few words, for help and the tables of the site.
    suits : str
        What it is good for.
    """

    target: str
    about: str = ""
    suits: str = ""

    @property
    def name(self) -> str:
        """The name of the class or function."""
        return self.target.partition(":")[2]


@dataclass(frozen=True, kw_only=True)
class Network(Entry):
    """The spec of a network.

    Attributes
    ----------
    estimator : str
        The estimator that trains it, "DenoisingAutoencoder" or "ImageDenoiser".
    """

    estimator: str


@dataclass(frozen=True)
class Unit:
    """A unit that people think in.

    Attributes
    ----------
    size : float
        One of it, for a class of the library.
    words : str
        What follows the name of a number in it.
    """

    size: float
    words: str


GREY_LEVELS = Unit(1 / 255, ", of 255")
PERCENT = Unit(1 / 100, ", in %")
COUNT = Unit(1.0, "")


@dataclass(frozen=True, kw_only=True)
class Amount:
    """The one parameter of a noise that tells how strong it is, for images from 0 (black) to 1 (white).

    Attributes
    ----------
    parameter : str
        Its name in the class.
    meaning : str
        The amount in words, for the command line.
    high : float
        The largest amount; the least is 0.
    above_zero : bool
        Whether 0 itself is refused.
    label : str
        The number of the app's slider.
    unit : Unit
        The unit of the slider, whose least number and whose step are 1.
    start, most : int
        Where the slider stands at first, and its largest number.

    See Also
    --------
    Unit : The number of the slider times its size is the amount.
    """

    parameter: str
    meaning: str
    high: float = 1.0
    above_zero: bool = False
    label: str
    unit: Unit
    start: int
    most: int


@dataclass(frozen=True, kw_only=True)
class Noise(Entry):
    """A noise, and what is known of it without fitting it to images from 0 to 1.

    Attributes
    ----------
    label : str
        For people who need not know the class.
    amount : Amount or None
        The parameter that tells how strong it is; None for noise that is made of other noise.
    known : mapping
        Parameters that a fit would learn from the data, so that the noise is the same for every image.
    mixes_samples : bool
        Whether it takes values from other samples, so that an image by itself cannot have it.
    """

    label: str
    amount: Amount | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    mixes_samples: bool = False


@dataclass(frozen=True, kw_only=True)
class LossTraits:
    """What a fit must know of a loss.

    Attributes
    ----------
    on_unit_interval : bool
        Whether it compares numbers in [0, 1]: data are not scaled, and the network answers through a sigmoid.
    by_entry : bool
        Whether it takes a weight for each entry.
    by_sample : bool
        Whether it takes a weight for each sample.
    images_only : bool
        Whether it takes images alone, ``(n, channels, height, width)``.
    """

    on_unit_interval: bool = False
    by_entry: bool = False
    by_sample: bool = False
    images_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Loss(Entry, LossTraits):
    """A loss.

    The target is a function of output, target and ``reduction`` ("mean" or "none"), as those of
    :mod:`torch.nn.functional` are, or a class of modules; such a class takes
    :class:`~sk_denoise.training.Units` where the loss is for images only, and nothing otherwise.
    """

    by_sample: bool = True


@dataclass(frozen=True, kw_only=True)
class Optimizer(Entry):
    """An optimizer, with a learning rate that suits it.

    Attributes
    ----------
    learning_rate : float
        The default.
    arguments : mapping
        Further arguments of the class.
    """

    learning_rate: float
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Filter(Entry):
    """A denoiser that needs no training.

    Attributes
    ----------
    extra : str
        The extra that installs the package that it needs.
    remark : str
        What its users should know.
    least : int
        The smallest side of an image in pixels.
    """

    extra: str = ""
    remark: str = ""
    least: int = 1


@dataclass(frozen=True, kw_only=True)
class Pretrained(Entry):
    """A network whose weights come with the library, in ``restoration/weights``.

    Attributes
    ----------
    label : str
        For people.
    channels : int
        Of the images that it takes: 1 or 3.
    max_sigma : float
        The largest standard deviation of noise that it has learned from, in [0, 1].
    """

    label: str
    channels: int
    max_sigma: float


# Tables -----------------------------------------------------------------------------------------------

NETWORKS: dict[str, Network] = {
    "dense": Network(
        target="sk_denoise.networks.dense:DenseNetwork",
        estimator="DenoisingAutoencoder",
        about="every entry meets every other one",
        suits="tables, small images of one kind",
    ),
    "conv": Network(
        target="sk_denoise.networks.conv:ConvNetwork",
        estimator="DenoisingAutoencoder",
        about="strided convolutions, a latent vector, transposed convolutions",
        suits="signals, images of one kind: digits, faces, X-rays of one region",
    ),
    "pooling": Network(
        target="sk_denoise.networks.pooling:PoolingNetwork",
        estimator="DenoisingAutoencoder",
        about="convolutions and pooling to a small map, and back",
        suits="images of many kinds and textures, where position means little",
    ),
    "folded_unet": Network(
        target="sk_denoise.networks.folded_unet:FoldedUNetNetwork",
        estimator="ImageDenoiser",
        about="a small residual U-Net at half the resolution, without loss; the default, and pretrained",
    ),
    "unet": Network(
        target="sk_denoise.networks.unet:UNetNetwork",
        estimator="ImageDenoiser",
        about="a U-Net of any depth",
    ),
    "dncnn": Network(
        target="sk_denoise.networks.dncnn:DnCNNNetwork",
        estimator="ImageDenoiser",
        about="a stack of convolutions at full resolution",
    ),
    "ridnet": Network(
        target="sk_denoise.networks.ridnet:RIDNetNetwork",
        estimator="ImageDenoiser",
        about="residual blocks with attention to channels; the most work for each pixel",
    ),
}

NOISES: dict[str, Noise] = {
    "gaussian": Noise(
        target="sk_denoise.noise._additive:GaussianNoiser",
        label="Gaussian",
        about="adds `N(mean, noise_factor²)`",
        suits="sensors, tables",
        amount=Amount(
            parameter="noise_factor",
            meaning="standard deviation; 0.1 is 25.5 grey levels of 255",
            label="Standard deviation",
            unit=GREY_LEVELS,
            start=25,
            most=128,
        ),
    ),
    "uniform": Noise(
        target="sk_denoise.noise._additive:UniformNoiser",
        label="Uniform",
        about="adds `U(-noise_factor, noise_factor)`",
        suits="rounding, coarse scales",
        amount=Amount(
            parameter="noise_factor",
            meaning="half the width: noise from -AMOUNT to AMOUNT",
            label="Largest error",
            unit=GREY_LEVELS,
            start=40,
            most=128,
        ),
    ),
    "speckle": Noise(
        target="sk_denoise.noise._additive:SpeckleNoiser",
        label="Speckle",
        about="multiplies by `1 + N(0, noise_factor²)`",
        suits="radar, ultrasound",
        amount=Amount(
            parameter="noise_factor",
            meaning="standard deviation as a share of each value",
            high=10.0,
            label="Share of the brightness",
            unit=PERCENT,
            start=20,
            most=100,
        ),
    ),
    "poisson": Noise(
        target="sk_denoise.noise._additive:PoissonNoiser",
        label="Photon counting (Poisson)",
        about="counts photons, `peak` of them where the data are white",
        suits="microscopes, telescopes, scans",
        amount=Amount(
            parameter="peak",
            meaning="photons where the image is white; fewer are noisier",
            high=1e9,
            above_zero=True,
            label="Photons where it is white",
            unit=COUNT,
            start=30,
            most=200,
        ),
        known={"white": 1.0},
    ),
    "salt_and_pepper": Noise(
        target="sk_denoise.noise._replacing:SaltAndPepperNoiser",
        label="Salt and pepper",
        about="sets values to the largest or smallest",
        suits="lost bits, dust",
        amount=Amount(
            parameter="amount",
            meaning="share of the values that turn black or white",
            label="Values",
            unit=PERCENT,
            start=5,
            most=60,
        ),
        known={"limits": (0.0, 1.0)},
    ),
    "masking": Noise(
        target="sk_denoise.noise._replacing:MaskingNoiser",
        label="Missing values",
        about="sets values to `fill`",
        suits="missing entries, features",
        amount=Amount(
            parameter="fraction",
            meaning="share of the values that turn black",
            label="Values",
            unit=PERCENT,
            start=20,
            most=80,
        ),
    ),
    "swap": Noise(
        target="sk_denoise.noise._replacing:SwapNoiser",
        label="Swapped values",
        about="takes values from other samples, a donor for each value",
        suits="tables of mixed columns",
        amount=Amount(
            parameter="fraction",
            meaning="share of the values from other patches; for train",
            label="Values",
            unit=PERCENT,
            start=20,
            most=80,
        ),
        mixes_samples=True,
    ),
    "pixel": Noise(
        target="sk_denoise.noise._replacing:PixelNoiser",
        label="Single pixels",
        about="sets whole pixels to black, white or any colour",
        suits="dead pixels",
        amount=Amount(
            parameter="fraction",
            meaning="share of the pixels that take any colour",
            label="Pixels",
            unit=PERCENT,
            start=10,
            most=60,
        ),
        known={"limits": (0.0, 1.0)},
    ),
    "region": Noise(
        target="sk_denoise.noise._composed:RegionNoiser",
        label="On a part of the image",
        about="any noise, on a random part of each sample",
        suits="scratches, stains",
    ),
    "choice": Noise(
        target="sk_denoise.noise._composed:NoiserChoice",
        label="One of several",
        about="one of several for each sample",
        suits="noise of more than one kind",
    ),
    "chain": Noise(
        target="sk_denoise.noise._composed:NoiserChain",
        label="One after the other",
        about="one after the other",
        suits="cameras: photons, then the amplifier",
    ),
}

LOSSES: dict[str, Loss] = {
    "mse": Loss(
        target="torch.nn.functional:mse_loss",
        about="squared error, whose best answer is the mean of what is possible",
        suits="PSNR; the default",
        by_entry=True,
    ),
    "mae": Loss(
        target="torch.nn.functional:l1_loss",
        about="absolute error, whose best answer is the median of what is possible",
        suits="noise that replaces values; sharper edges",
        by_entry=True,
    ),
    "huber": Loss(
        target="torch.nn.functional:huber_loss",
        about="half the squared error below one unit of the network, linear above",
        suits='as "mae", with fewer jumps near the end',
        by_entry=True,
    ),
    "charbonnier": Loss(
        target="sk_denoise.training._losses:charbonnier_loss",
        about="absolute error that is smooth at 0",
        suits='as "mae"',
        by_entry=True,
    ),
    "bce": Loss(
        target="sk_denoise.training._losses:BinaryCrossEntropy",
        about="cross-entropy through a sigmoid",
        suits="data that are mostly 0 and 1",
        by_entry=True,
        on_unit_interval=True,
    ),
    "kl": Loss(
        target="sk_denoise.training._losses:KullbackLeibler",
        about="`t log(t / p) - t + p` of each value, through a sigmoid",
        suits="photon counts: errors in the dark count more",
        by_entry=True,
        on_unit_interval=True,
    ),
    "ssim": Loss(
        target="sk_denoise.training._losses:SimilarityLoss",
        about="one minus structural similarity",
        suits="what people see",
        images_only=True,
    ),
    "ms_ssim": Loss(
        target="sk_denoise.training._losses:MultiScaleSimilarityLoss",
        about="the same on up to five scales",
        suits="what people see, near and far",
        images_only=True,
    ),
}

OPTIMIZERS: dict[str, Optimizer] = {
    "adam": Optimizer(target="torch.optim:Adam", learning_rate=2e-3, arguments={"fused": True}),
    "adamw": Optimizer(target="torch.optim:AdamW", learning_rate=2e-3, arguments={"fused": True}),
    "nadam": Optimizer(target="torch.optim:NAdam", learning_rate=2e-3),
    "radam": Optimizer(target="torch.optim:RAdam", learning_rate=4e-3),
    "rmsprop": Optimizer(target="torch.optim:RMSprop", learning_rate=1e-3),
    "sgd": Optimizer(
        target="torch.optim:SGD", learning_rate=5e-2, arguments={"fused": True, "momentum": 0.9}
    ),
    "adagrad": Optimizer(target="torch.optim:Adagrad", learning_rate=1e-2, arguments={"fused": True}),
    "adadelta": Optimizer(target="torch.optim:Adadelta", learning_rate=1.0),
}

# Functions that give a share of the learning rate, from the number of steps before and that of all steps
SCHEDULES: dict[str, Entry] = {
    "constant": Entry(target="sk_denoise.training._optimizers:constant", about="stays as it is"),
    "cosine": Entry(
        target="sk_denoise.training._optimizers:cosine", about="falls along a cosine from the start to zero"
    ),
    "flat_cosine": Entry(
        target="sk_denoise.training._optimizers:flat_cosine",
        about="is constant for the first half, and then falls along a cosine to zero",
    ),
    "linear": Entry(target="sk_denoise.training._optimizers:linear", about="falls on a line to zero"),
    "exponential": Entry(
        target="sk_denoise.training._optimizers:exponential", about="falls to a hundredth, ever more slowly"
    ),
    "one_cycle": Entry(
        target="sk_denoise.training._optimizers:one_cycle",
        about="rises for a third of the run, and then falls along a cosine",
    ),
}

FILTERS: dict[str, Filter] = {
    "non_local_means": Filter(
        target="sk_denoise.estimators._filters:NonLocalMeansDenoiser",
        about="averages pixels whose surroundings look alike",
        suits="texture, repeated structure",
    ),
    "total_variation": Filter(
        target="sk_denoise.estimators._filters:TotalVariationDenoiser",
        about="makes images plain between their edges",
        suits="plain areas; texture is lost",
    ),
    "wavelet": Filter(
        target="sk_denoise.estimators._filters:WaveletDenoiser",
        about="shrinks wavelet coefficients",
        suits="smooth areas between edges",
        extra="wavelets",
    ),
    "bilateral": Filter(
        target="sk_denoise.estimators._filters:BilateralDenoiser",
        about="averages near pixels of nearly the same value",
        suits="weak noise",
    ),
    "median": Filter(
        target="sk_denoise.estimators._filters:MedianDenoiser",
        about="takes the median of the neighbourhood; needs no level",
        suits="salt and pepper, stray pixels",
    ),
    "wiener": Filter(
        target="sk_denoise.estimators._wiener:WienerDenoiser",
        about="the best linear filter, learned from clean samples",
        suits="tables; images of the same thing in the same place",
        remark="wiener learns from 8 x 8 patches of scikit-image's photos, not from the folder.",
        least=8,
    ),
    "bm3d": Filter(
        target="sk_denoise.estimators._filters:BM3DDenoiser",
        about="filters groups of like blocks; NON-COMMERCIAL use only",
        suits="photos, where no network fits; by far the slowest",
        extra="bm3d",
        remark="bm3d: its licence allows NON-COMMERCIAL use only.",
    ),
}

MODELS: dict[str, Pretrained] = {
    "gray": Pretrained(
        target="sk_denoise.networks.folded_unet:FoldedUNetNetwork",
        label="Gray, channel by channel",
        channels=1,
        max_sigma=55 / 255,
    ),
    "rgb": Pretrained(
        target="sk_denoise.networks.folded_unet:FoldedUNetNetwork",
        label="Colour",
        channels=3,
        max_sigma=55 / 255,
    ),
}

# Public names that stand in no table, by the package that has them; networks, noises and filters are public
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "comparison": ("compare_denoisers",),
    "estimators": ("DenoisingAutoencoder", "DenoisingEnsemble", "ImageDenoiser", "NetworkSummary"),
    "exceptions": (
        "CleanTargetWarning",
        "MissingExtraError",
        "SkippedImageWarning",
        "TrainingDivergedError",
        "UnreadableImageError",
        "WeakNoiseWarning",
    ),
    "metrics": ("make_denoising_scorer", "make_robustness_scorer"),
    "preprocessing": ("Augmenter", "Centerer", "PixelScaler"),
}


# How they are read ------------------------------------------------------------------------------------


def check_one_of(name: object, table: Mapping[str, T], what: str) -> T:
    """Return the entry called ``name``; an unknown name is answered with the known and nearest ones."""
    if isinstance(name, str) and name in table:
        return table[name]
    nearest = difflib.get_close_matches(str(name), table, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"Unknown {what} {name!r}.{hint} Known: {', '.join(map(repr, table))}.")


def load(entry: Entry) -> Any:
    """Return the class or function of an entry, whose module is imported now."""
    module, _, name = entry.target.partition(":")
    return getattr(importlib.import_module(module), name)


class Loaded(Mapping[str, T]):
    """A table of the classes or functions themselves, each loaded when it is asked for.

    Parameters
    ----------
    table : mapping of str to Entry
        The entries.
    """

    def __init__(self, table: Mapping[str, Entry]) -> None:
        self._table = table

    def __getitem__(self, name: str) -> T:
        loaded: T = load(self._table[name])
        return loaded

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name: object) -> bool:  # Mapping's own would import the class
        return name in self._table

    def __repr__(self) -> str:
        return f"{{{', '.join(f'{name!r}: {entry.name}' for name, entry in self._table.items())}}}"


def networks_of(estimator: str) -> dict[str, Network]:
    """Return the networks that an estimator trains."""
    return {name: network for name, network in NETWORKS.items() if network.estimator == estimator}


def public_names() -> dict[str, list[str]]:
    """Return the names that ``from sk_denoise import`` knows, by the module of ours that has them."""
    names = {module: list(others) for module, others in OTHER_NAMES.items()}
    tables: tuple[Mapping[str, Entry], ...] = (NETWORKS, NOISES, FILTERS)
    for entry in (entry for table in tables for entry in table.values()):
        module = entry.target.partition(":")[0].partition(".")[2]
        names.setdefault(module, []).append(entry.name)
    return names
