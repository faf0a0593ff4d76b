"""Programs on the processor: tiles of samples spread over threads, one compiled call a thread.

``tile`` runs a program on one tile, by its own loops and those of ``elementwise`` and ``gates``, which training shares;
``tiles`` runs one thread's tiles from memory to memory, ``host`` all threads; ``months`` places windows of a panel that
share their months. ``product`` and ``transpose`` are vector code.
"""

from fastlrp.kernels.cpu.host import profile, run_tasks, threads_of
from fastlrp.kernels.cpu.masked import run, run_into

__all__ = ["profile", "run", "run_into", "run_tasks", "threads_of"]
