"""Training programs on the processor: ``trainer`` from Python, ``epochs`` compiled, ``tile`` one tile of a batch."""

from fastlrp.kernels.training.trainer import Trainer, train_many

__all__ = ["Trainer", "train_many"]
