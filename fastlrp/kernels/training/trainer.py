"""Training a network on this machine's processors: the Python side, one compiled call an epoch or for a whole fit.

Losses are means over a batch's samples (by weight) of means over outputs, as in Keras: squared error (no half),
absolute error, Huber. To the loss of a batch of n samples, ``alpha/2 ||W||^2 / n`` is added as in scikit-learn's
MLPRegressor. W is the kernels of LSTM and Dense layers, not their recurrent kernels or biases; with sample weights, n
is their sum. (MLPRegressor halves its squared error, so that an alpha weighs twice as much there.) Adam is Keras'.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import config, get_num_threads

from fastlrp.checks import as_dtype, check
from fastlrp.kernels.helpers import together
from fastlrp.kernels.memory import aligned, read_only
from fastlrp.kernels.program.training import train_plan
from fastlrp.kernels.training.epochs import BLOCK, GRADIENT, JOB, LOSS, UPDATE, run_epochs
from fastlrp.kernels.training.inputs import Inputs, Settings, checked
from fastlrp.kernels.training.threads import Stop
from fastlrp.kernels.training.weights import flat_weights, unflatten
from fastlrp.model.chain import Chain
from fastlrp.model.layers import Dropout
from fastlrp.model.plain import with_arrays

Array = npt.NDArray[Any]
C = TypeVar("C", bound=Chain)
#: Floating-point operations per batch below which threads would wait for each other longer than they compute.
_WORTH_THREADS = 1e6
#: Floating-point operations of a call from which the main thread, the only one that Ctrl-C reaches, waits for others
#: instead of computing: less takes a tenth of a second or so, and starting a thread a few thousandths of that.
_WORTH_WAITING = 3e8


class Trainer(Generic[C]):
    """A network's weights while they are trained, with Adam's moments.

    Parameters
    ----------
    net : Network
        Layers and first weights; it is not changed. ``Dropout`` layers drop in training, by Keras' inverted dropout.
    steps : int
        T, the length of a window.
    loss : {"squared_error", "absolute_error", "huber"}
        Mean over outputs; ``huber_delta`` is where Huber's parabola becomes a line.
    alpha : float
        Strength of the penalty on kernels, ``alpha/2 ||W||^2 / n`` for a batch of n, as in MLPRegressor.
    learning_rate, beta_1, beta_2, epsilon : float
        Adam's (Kingma & Ba 2015), in Keras' form.
    clipnorm : float or None
        Norm of the longest gradient, of all weights together (Keras' ``global_clipnorm``); longer ones are scaled down
        to it.
    dtype : float32 or float64
        Of weights and arithmetic.
    seed : int
        Of dropout. A mask depends on it, on the number of updates so far, and on a sample's place in its batch.
    threads : int or None
        None stands for as many as Numba would use. Results have the same bits for any number.
    stop : Stop or None
        A flag for others to end training by, wherever it stands; calls then raise KeyboardInterrupt.

    Raises
    ------
    ValueError
        For values or shapes that do not fit.
    KeyboardInterrupt
        In the middle of an epoch, within a moment of Ctrl-C; weights and moments are then good for nothing but
        ``set_state``.
    """

    def __init__(
        self,
        net: C,
        *,
        steps: int,
        loss: str = "squared_error",
        huber_delta: float = 1.0,
        alpha: float = 0.0,
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        clipnorm: float | None = None,
        dtype: npt.DTypeLike = np.float32,
        seed: int = 0,
        threads: int | None = None,
        stop: Stop | None = None,
    ) -> None:
        self.settings = Settings(loss, huber_delta, alpha, learning_rate, beta_1, beta_2, epsilon, clipnorm)
        check("steps", steps, required=True)
        check("threads", threads)
        if net.steps is not None and net.steps != steps:
            raise ValueError(f"steps={steps} was given, but the network has windows of {net.steps} steps")
        self.dtype, self.steps, self.seed = as_dtype(dtype), int(steps), int(seed) & (2**63 - 1)
        self.threads = get_num_threads() if threads is None else threads
        self._net, self._plan = net, train_plan(net, self.steps)
        self._flat = flat_weights(net, self.dtype)
        self._m, self._v = np.zeros_like(self._flat), np.zeros_like(self._flat)
        self._updates, self._stop = 0, stop
        self._drops = any(isinstance(layer, Dropout) and layer.rate > 0 for layer in net.layers)
        self._space: dict[Any, Any] = {}

    # ---- training and measuring ----

    def epoch(self, X: Inputs, y: Array, sample_weight: Array | None, order: Array, batch_size: int) -> float:
        """Go through the samples once, in this order, with an update after each batch (the last may be smaller).

        Parameters
        ----------
        X : array (n, T, D), or (rows (R, D), starts (n,))
            Windows; or rows, and the row where each sample's window starts, so that windows need no array.
        y : array (n, K)
            Targets.
        sample_weight : array (n,) or None
            A batch's loss is its weighted mean.
        order : int64 array (m,)
            Samples in the order of training; any selection.
        batch_size : int
            Samples per update.

        Returns
        -------
        float
            The mean loss, measured on each batch before its update (and with dropout) as Keras shows it, plus the
            penalty (``alpha/2 ||W||^2`` per batch, over the number of samples, as in MLPRegressor's ``loss_curve_``).
        """
        return float(self.epochs(X, y, sample_weight, np.asarray(order)[None], batch_size)[0])

    def epochs(self, X: Inputs, y: Array, sample_weight: Array | None, orders: Array, batch_size: int) -> Array:
        """Many epochs, one for each row of ``orders`` (epochs, m), in one compiled call; returns their losses."""
        orders = np.asarray(orders)
        if orders.ndim != 2:
            raise ValueError(f"orders must be two-dimensional, (epochs, samples), not of shape {orders.shape}")
        check("batch_size", batch_size)
        return _means(self._run(UPDATE, X, y, sample_weight, orders, min(batch_size, max(1, orders.shape[1]))))

    def epoch_in_parts(self, parts: Iterable[tuple[Inputs, Array, Array | None, Array]], batch_size: int) -> float:
        """An epoch whose samples come one part after another, each with an order of its own, and not all at once.

        It leaves the same bits as :meth:`epoch` if every part but the last holds whole batches.
        """
        check("batch_size", batch_size)
        sums = np.zeros((1, 2))
        for X, y, sample_weight, order in parts:
            sums = self._run(UPDATE, X, y, sample_weight, np.asarray(order)[None], batch_size, before=sums[0])
        return float(_means(sums)[0])

    def loss(self, X: Inputs, y: Array, sample_weight: Array | None = None) -> float:
        """The mean loss of the present weights, without dropout and without the penalty."""
        return float(_means(self._run(LOSS, X, y, sample_weight, None, None))[0])

    def gradients(
        self, X: Inputs, y: Array, sample_weight: Array | None = None, *, dropout: bool = False
    ) -> list[Array]:
        """The gradient of one batch of all samples, penalty included and not clipped, shaped as the layers' arrays.

        With ``dropout``, it is taken under the masks that the next update would draw.
        """
        self._run(GRADIENT, X, y, sample_weight, None, None, drops=dropout)
        return unflatten(self._net, self._grads)

    # ---- weights and state ----

    def network(self) -> C:
        """The network with the present weights."""
        net = with_arrays(self._net, unflatten(self._net, self._flat))
        return net if net.steps is not None else net.replaced(steps=self.steps)

    def finite(self) -> bool:
        """Whether all weights are finite."""
        return bool(np.isfinite(self._flat).all())

    def get_state(self) -> dict[str, Array]:
        """The state that training goes on from, as copies: weights, Adam's moments, and the number of updates
        (dropout's counter)."""
        n = self._plan.n_params
        return {
            "weights": self._flat[:n].copy(),
            "m": self._m[:n].copy(),
            "v": self._v[:n].copy(),
            "updates": np.array(self._updates, np.int64),
        }

    def set_state(self, state: dict[str, Array]) -> None:
        """Go on from a state that ``get_state`` returned."""
        n = self._plan.n_params
        for key in ("weights", "m", "v"):
            if np.shape(state[key]) != (n,):
                raise ValueError(f"state[{key!r}] has shape {np.shape(state[key])}, expected ({n},) for this network")
        for key, mine in (("weights", self._flat), ("m", self._m), ("v", self._v)):
            mine[:n] = state[key]
        self._updates = int(state["updates"])

    # ---- the compiled call ----

    def _run(
        self, mode: int, X: Inputs, y: Array, sample_weight: Array | None, orders: Array | None, batch: int | None,
        *, drops: bool = True, before: Array | None = None,
    ) -> Array:  # fmt: skip
        """Sums of losses and of weights by epoch (epochs, 2); ``before`` are those of samples before these."""
        data, n = checked(self._plan, self.dtype, X, y, sample_weight)
        if orders is None:
            orders, batch = np.arange(n)[None], n
        orders = np.ascontiguousarray(orders, np.int64)
        if orders.size == 0:
            raise ValueError("training needs at least one sample, but order is empty")
        if orders.min() < 0 or orders.max() >= n:
            raise ValueError(f"order names samples {orders.min()} to {orders.max()}, expected 0 to {n - 1}")
        batch, plan = int(cast(int, batch)), self._plan
        lanes = plan.lanes(batch, self.dtype.itemsize)
        tiles = -(-batch // lanes)
        per_chunk = plan.tiles_a_chunk(tiles, self.dtype.itemsize)
        chunks = -(-tiles // per_chunk)
        threads = min(self.threads, chunks) if plan.flops * batch > _WORTH_THREADS and not config.DISABLE_JIT else 1
        phases = 1 if mode == LOSS else 2 + (mode == UPDATE and self.settings.clipnorm is not None)
        jobs = np.zeros(1, JOB)
        given = {
            **{key: getattr(plan, key) for key in ("rows", "x", "output", "top", "zeros", "n_zeros", "ones")},
            **self.settings.numbers(), "mode": mode, "phases": phases, "samples": orders.shape[1], "batch": batch,
            "lanes": lanes, "tiles": per_chunk, "width": plan.steps * plan.n_features, "features": plan.n_features,
            "outputs": plan.n_outputs, "params": plan.n_params, "stride": self._stride, "done": self._updates,
            "seed": self.seed, "drops": self._drops and drops and mode != LOSS,
        }  # fmt: skip
        for key, value in given.items():
            jobs[0][key] = value
        sums = np.zeros(3)
        sums[:2] = 0 if before is None else before
        curve = self._call(jobs, data, read_only(orders.reshape(-1)), chunks, threads, sums)
        if mode == UPDATE:
            self._updates += orders.shape[0] * -(-orders.shape[1] // batch)
        return curve

    @property
    def _stride(self) -> int:
        """Numbers from one part of the gradient to the next: whole cache lines."""
        return -(-self._plan.n_params // 16) * 16

    def _call(
        self, jobs: Array, data: tuple[Array, ...], orders: Array, chunks: int, threads: int, sums: Array
    ) -> Array:
        plan, lanes = self._plan, int(jobs[0]["lanes"])
        size = (plan.rows + plan.n_outputs + 1) * lanes + plan.index.size
        scratch = self._keep("scratch", size, threads)
        self._grads = self._keep("gradients", chunks * self._stride, 1)[0]
        blocks = -(-plan.n_params // BLOCK)
        totals, squares, sync = np.zeros(chunks), np.zeros(2 * blocks), aligned(16, np.int64)
        curve = np.zeros(orders.size // int(jobs[0]["samples"]) * 2)
        sync[:], stop = 0, self._stop or Stop()
        places = list(np.empty((threads, lanes), np.int64))
        programs = (plan.forward, plan.backward)
        model = (self._flat, self._m, self._v, plan.index, plan.decays, self._grads)

        def work(thread: int) -> None:
            with np.errstate(over="ignore", invalid="ignore"):  # plain Python warns where compiled code does not
                run_epochs(jobs, programs, data, orders, model, scratch[thread], places[thread], totals, squares, sums,
                           curve, sync, stop.flag)  # fmt: skip

        _train_together(work, threads, stop, aside=plan.flops * orders.size > _WORTH_WAITING and not config.DISABLE_JIT)
        return curve.reshape(-1, 2)

    def _keep(self, name: str, size: int, count: int) -> list[Array]:
        """Work space that stays from call to call."""
        have = self._space.get(name, [])
        if len(have) < count or have[0].size < size:
            have = self._space[name] = [aligned(size, self.dtype) for _ in range(count)]
        return have  # type: ignore[no-any-return]


def _means(sums: Array) -> Array:
    """Mean losses, from sums of losses and of weights."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)


def _train_together(work: Callable[[int], None], threads: int, stop: Stop, *, aside: bool) -> None:
    """Run ``work(0)`` here and the rest beside it, or all of them ``aside`` where this is the main thread, which then
    notices Ctrl-C. Whatever goes wrong ends them all, and is raised."""
    first = 0 if aside and threading.current_thread() is threading.main_thread() else 1

    def here(others: int) -> None:
        if first or not others:
            work(0)

    together([partial(work, k) for k in range(first, threads)], here, stop.set, "fastlrp-train")
    if stop.is_set():
        raise KeyboardInterrupt
