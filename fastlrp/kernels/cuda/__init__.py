"""The CUDA backend: tiles of samples spread over the blocks of a GPU.

``kernel.py`` says what a block runs, ``block.py`` and ``product.py`` what its threads do together, ``device.py`` how a
plan is laid out on a card. ``host.py`` moves batches of any size through it in chunks.
"""

from fastlrp.kernels.cuda.device import adopt, why_unavailable
from fastlrp.kernels.cuda.host import run

__all__ = ["adopt", "run", "why_unavailable"]
