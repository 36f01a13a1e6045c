"""Errors and warnings of the library.

Bad input raises ``ValueError`` or ``TypeError`` as everywhere in scikit-learn; the classes here exist
for what a caller may want to catch or silence by name.
"""

__all__ = [
    "CleanTargetWarning",
    "MissingExtraError",
    "SkippedImageWarning",
    "TrainingDivergedError",
    "UnreadableImageError",
    "WeakNoiseWarning",
]


class MissingExtraError(ImportError):
    """A package that only some uses need is not installed; the message names the command that installs it."""


class TrainingDivergedError(RuntimeError):
    """The training loss became infinite, NaN or absurdly large; the message names what to lower."""


class UnreadableImageError(ValueError):
    """A file that should hold one image does not, or not one that can be used; the message names it."""


class SkippedImageWarning(UserWarning):
    """An image of a folder or data set could not be used and was left out; the message names it."""


class CleanTargetWarning(UserWarning):
    """A two-dimensional ``y`` was read as labels, a clean side has no noise to learn from, or is noisy."""


class WeakNoiseWarning(UserWarning):
    """The noise is so weak beside the spread of the data that there is nothing to learn from it."""
