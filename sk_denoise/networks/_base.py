"""What our networks promise beyond torch's own modules."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod

import torch
from torch import nn

__all__ = ["SeededModule"]


class SeededModule(nn.Module, metaclass=ABCMeta):
    """A network that draws from explicit generators alone, and never from torch's global state."""

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw fresh weights."""
