"""Training on the processor: ``trainer`` is its Python side, ``epochs`` its compiled side, ``tile`` one tile of a
batch."""

from fastlrp.kernels.training.trainer import Trainer

__all__ = ["Trainer"]
