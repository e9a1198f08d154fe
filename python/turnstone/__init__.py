"""Turnstone for PyTorch: onboard a module by its graph, see what it costs on the simulated accelerator, use the server's kernels as ops."""

from .bridge import TurnstoneError
from .errors import NotTheSame, Unrecognised
from .export import Exported, export

__all__ = ["Exported", "NotTheSame", "TurnstoneError", "Unrecognised", "export"]
