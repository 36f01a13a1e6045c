"""Errors and warnings of the library.

Bad input raises ``ValueError`` or ``TypeError`` as everywhere in scikit-learn. The classes here
are for errors and warnings that a caller may want to catch or silence by name.
"""

__all__ = [
    "CleanTargetWarning",
    "LostProcessError",
    "MissingExtraError",
    "NoiseMismatchWarning",
    "SkippedImageWarning",
    "TrainingDivergedError",
    "UnreadableImageError",
    "UnreadableSignalError",
    "WeakNoiseWarning",
]


# A subclass of ImportError, so that code that tries an optional package keeps working.
class MissingExtraError(ImportError):
    """Error for a missing optional package.

    The message names the command that installs it.
    """


class LostProcessError(RuntimeError):
    """Error for a training over several processes of which one ended or failed.

    The message names the reason, if the process could leave one.
    """


class TrainingDivergedError(RuntimeError):
    """Error for a training loss that became infinite, NaN or absurdly large.

    The message names the parameter to lower.
    """


# A subclass of ValueError, the error of all other bad input.
class UnreadableImageError(ValueError):
    """Error for a file without a usable image.

    The message names the file.
    """


class UnreadableSignalError(ValueError):
    """Error for a file without a usable signal.

    The message names the file.
    """


class SkippedImageWarning(UserWarning):
    """Warning about an unusable image of a folder or data set.

    The image is left out; the message names it.
    """


class CleanTargetWarning(UserWarning):
    """Warning about a doubtful clean side.

    A two-dimensional ``y`` was read as labels, or the clean side equals the noisy side, does not resemble it
    or is itself noisy.
    """


class WeakNoiseWarning(UserWarning):
    """Warning about noise that is too weak, beside the data, to learn from."""


class NoiseMismatchWarning(UserWarning):
    """Warning about noise of another kind than assumed, or noise that stays.

    The message names the option to try.
    """
