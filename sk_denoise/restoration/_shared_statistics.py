"""Statistics of whole images that their parts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["Numbers", "SharedStatistics"]

Numbers = tuple[float, ...]


class SharedStatistics:
    """Statistics of a whole image, for the denoising of its parts.

    The denoising of an image computes black and white, and others, one after the other. For an image in parts
    they are recorded once, on a sample of the image, and each part takes them from the record. Without that,
    parts would differ in brightness and smoothness, and show seams.

    Parameters
    ----------
    record : sequence of (name, numbers), optional
        Statistics of an earlier image, in the order of their computation.
    is_recording : bool, default=False
        Whether to keep the statistics in ``record``, for the parts.
    """

    def __init__(self, record: Sequence[tuple[str, Numbers]] = (), *, is_recording: bool = False) -> None:
        self.record, self.is_recording = list(record), is_recording
        self.is_replaying = bool(record) and not is_recording
        self._place = 0

    @property
    def is_for_parts(self) -> bool:
        """Whether the image is a part of another one, or the sample that stands for that."""
        return self.is_recording or self.is_replaying

    def of(self, name: str, compute: Callable[[], Sequence[float]]) -> Numbers:
        """Return a statistic: computed from this image, or that of the record."""
        if self.is_replaying:
            return self._next(name)
        numbers = tuple(float(number) for number in compute())
        if self.is_recording:
            self.record.append((name, numbers))
        return numbers

    def _next(self, name: str) -> Numbers:
        if self._place == len(self.record) or self.record[self._place][0] != name:
            raise ValueError(
                "The noise model was measured for the parts of an image with other options. Pass the options "
                "of the measurement: model, outliers and the number of channels."
            )
        self._place += 1
        return self.record[self._place - 1][1]
