"""Converts weights of CuDNNLSTM, which tf.keras wrote for GPUs until 2.x, to those of an LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def from_cudnn(W: Array, U: Array, rest: list[Array]) -> tuple[Array, Array, list[Array]]:
    """The LSTM's weights; cuDNN keeps every gate's matrix transposed, and two biases that add up."""
    W = np.concatenate([part.T.reshape(part.shape, order="F") for part in np.split(W, 4, axis=1)], axis=1)
    U = np.concatenate([part.T for part in np.split(U, 4, axis=1)], axis=1)
    return W, U, [bias[: bias.size // 2] + bias[bias.size // 2 :] for bias in rest]
