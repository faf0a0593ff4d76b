"""Training, an epoch at a time, against torch on the same threads; and many small models, as in rolling refits.

Both start from the same weights and see the same batches, so that their losses can be compared; torch runs its fused
Adam, its fastest here, in a loop that does nothing but train.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks import machine
from benchmarks.report import Options, at_least, at_most, goals, table
from benchmarks.timing import Timing, alternate, seconds
from benchmarks.workers import Worker, WorkerError

Array = npt.NDArray[Any]
RATE = 1e-3
EPSILON = 1e-12  # torch and Keras add it to different denominators; this small, both train alike


class Case(NamedTuple):
    """One network and one batch size: LSTM(H) and Dense(1) on windows (T, D)."""

    steps: int
    features: int
    units: int
    batch: int
    samples: int
    asked: float  # goal, as a multiple of torch's speed

    @property
    def label(self) -> str:
        return f"({self.steps}, {self.features}, {self.units}), batch {self.batch:,}, {self.samples:,} samples"

    @property
    def flops(self) -> float:
        """Operations of an epoch's matrix products: forward, gradients of weights and of h, by textbook count."""
        T, D, H = self.steps, self.features, self.units
        return self.samples * (8.0 * T * H * (2 * (D + H) + H) + 6.0 * H)


CASES = (
    Case(5, 16, 16, 32, 5_000, 10.0),
    Case(5, 16, 32, 256, 20_000, 3.0),
    Case(12, 96, 64, 1_024, 8_000, 1.5),
)
#: Windows, samples, inputs, steps, units, epochs, batch: the paper's experiment in its original form took 34 min 39 s.
ROLLING = {"models": 363, "samples": 60, "features": 14, "steps": 5, "units": 32, "epochs": 10, "batch": 32}
ROLLING_SECONDS = 3.0
#: Networks of an ensemble, and the most times one network's time that they should take.
MEMBERS, MEMBERS_TIMES = 10, 7.0


def first_weights(case: Case) -> list[Array]:
    """W, U, b of the LSTM and W, b of the head: Glorot's scales, forget bias 1."""
    rng = np.random.default_rng(1)
    D, H = case.features, case.units
    b = np.zeros(4 * H)
    b[H : 2 * H] = 1
    weights = [
        rng.standard_normal((D, 4 * H)) / np.sqrt(D),
        rng.standard_normal((H, 4 * H)) / np.sqrt(H) / 2,
        b,
        rng.standard_normal((H, 1)) / np.sqrt(H),
        np.zeros(1),
    ]
    return [array.astype(np.float32) for array in weights]


def data(case: Case) -> tuple[Array, Array]:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((case.samples, case.steps, case.features)).astype(np.float32)
    y = np.tanh(X[:, -1, :4].sum(1)) + 0.5 * X[:, 0, 0] * X[:, -1, 1] + 0.3 * rng.standard_normal(case.samples)
    return X, y.astype(np.float32)[:, None]


class Fastlrp:
    """This library's training kernels."""

    def __init__(self, case: Case, threads: int) -> None:
        import fastlrp as fl
        from fastlrp.kernels.training.trainer import Trainer

        W, U, b, V, c = first_weights(case)
        self.case, (self.X, self.y), self.rng = case, data(case), np.random.default_rng(3)
        net = fl.Network([fl.LSTM(W, U, b), fl.Dense(V, c)])
        self.trainer = Trainer(net, steps=case.steps, learning_rate=RATE, epsilon=EPSILON, threads=threads)

    def epoch(self) -> tuple[float, float]:
        """Seconds and loss of the next epoch."""
        order, losses = self.rng.permutation(self.case.samples), []
        taken = seconds(lambda: losses.append(self.trainer.epoch(self.X, self.y, None, order, self.case.batch)))
        return taken, losses[0]


class Torch:
    """``torch.nn.LSTM`` and ``Linear`` with ``torch.optim.Adam(fused=True)``."""

    def __init__(self, case: Case, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        W, U, b, V, c = (torch.from_numpy(array) for array in first_weights(case))
        self.torch, self.case, self.rng = torch, case, np.random.default_rng(3)
        self.X, self.y = (torch.from_numpy(array) for array in data(case))
        self.lstm = torch.nn.LSTM(case.features, case.units, batch_first=True)
        self.head = torch.nn.Linear(case.units, 1)
        with torch.no_grad():
            for mine, value in (
                (self.lstm.weight_ih_l0, W.T), (self.lstm.weight_hh_l0, U.T), (self.lstm.bias_ih_l0, b),
                (self.lstm.bias_hh_l0, torch.zeros_like(b)), (self.head.weight, V.T), (self.head.bias, c),
            ):  # fmt: skip
                mine.copy_(value)
        self.lstm.bias_hh_l0.requires_grad_(False)  # Keras' LSTM, and ours, has one bias
        parameters = [p for p in (*self.lstm.parameters(), *self.head.parameters()) if p.requires_grad]
        self.adam = torch.optim.Adam(parameters, lr=RATE, eps=EPSILON, fused=True)

    def epoch(self) -> tuple[float, float]:
        order = self.torch.from_numpy(self.rng.permutation(self.case.samples))
        losses: list[float] = []
        return seconds(lambda: losses.append(self._train(order))), losses[0]

    def _train(self, order: Any) -> float:
        total, mse = self.torch.zeros(()), self.torch.nn.functional.mse_loss
        for rows in order.split(self.case.batch):
            self.adam.zero_grad()
            loss = mse(self.head(self.lstm(self.X[rows])[0][:, -1]), self.y[rows])
            loss.backward()
            self.adam.step()
            total += loss.detach() * len(rows)
        return float(total) / self.case.samples


class Rolling:
    """Many small fits in one call."""

    def __init__(self, threads: int, quick: bool) -> None:
        self.threads, self.models = threads, ROLLING["models"] // (10 if quick else 1)
        case = Case(ROLLING["steps"], ROLLING["features"], ROLLING["units"], ROLLING["batch"], 0, 0.0)
        W, U, b, V, c = first_weights(case)
        import fastlrp as fl

        rng, n = np.random.default_rng(4), ROLLING["samples"]
        rows = rng.standard_normal((self.models + n + case.steps, case.features)).astype(np.float32)
        y = rng.standard_normal((self.models + n, 1)).astype(np.float32)
        self.fits = []
        for k in range(self.models):
            net = fl.Network([fl.LSTM(W, U, b), fl.Dense(V, c)])
            orders = np.array([rng.permutation(n) for _ in range(ROLLING["epochs"])])
            self.fits.append((net, (rows[k : k + n + case.steps - 1], np.arange(n)), y[k : k + n], None, orders))

    def all(self) -> float:
        """Seconds for fitting all models."""
        from fastlrp.kernels.cpu import run_tasks
        from fastlrp.kernels.training.trainer import Trainer

        def fit(net: Any, *data: Any) -> int:
            Trainer(net, steps=ROLLING["steps"], threads=1).epochs(*data, ROLLING["batch"])
            return 1

        return seconds(lambda: run_tasks([partial(fit, *one) for one in self.fits], self.threads))


class Members:
    """An estimator's fit with one network, and with ten that train side by side."""

    def __init__(self, case: Case, threads: int, epochs: int) -> None:
        import fastlrp as fl

        X, y = data(case)
        given: dict[str, Any] = {"units": (case.units,), "batch_size": case.batch, "random_state": 0}
        given |= {"max_iter": epochs, "n_iter_no_change": epochs, "threads": threads}
        self.fits = {n: partial(fl.LSTMRegressor(n_members=n, **given).fit, X, y[:, 0]) for n in (1, MEMBERS)}

    def fit(self, n: int) -> float:
        """Seconds for fitting n members."""
        return seconds(self.fits[n])


def measure_members(case: Case, options: Options) -> tuple[Timing, Timing]:
    """Times of one network and of ten, in alternating rounds."""
    given = {"case": case, "threads": options.threads, "epochs": 4}
    with Worker("benchmarks.sections.training:Members", options.threads, **given) as worker:
        calls = {str(n): partial(worker.call, "fit", n=n) for n in (1, MEMBERS)}
        for call in calls.values():
            call()
        found = alternate(calls, 3 if options.quick else 7)
    return found["1"], found[str(MEMBERS)]


def measure(case: Case, options: Options) -> tuple[dict[str, Timing], dict[str, list[float]]]:
    """Timings of alternating rounds of one epoch, the first of each not counted, and the losses of all epochs."""
    losses: dict[str, list[float]] = {"fastlrp": [], "torch": []}
    with (
        Worker("benchmarks.sections.training:Fastlrp", options.threads, case=case, threads=options.threads) as mine,
        Worker("benchmarks.sections.training:Torch", options.threads, case=case, threads=options.threads) as theirs,
    ):

        def epoch(name: str, worker: Worker) -> float:
            taken, loss = worker.call("epoch")
            losses[name].append(loss)
            return float(taken)

        calls = {"fastlrp": lambda: epoch("fastlrp", mine), "torch": lambda: epoch("torch", theirs)}
        for call in calls.values():
            call()
        return alternate(calls, 3 if options.quick else 11), losses


def run(options: Options) -> str:
    """The section's text: a table, the goals, and the machine."""
    rows, asked = [], []
    for case in CASES:
        try:
            found, losses = measure(case, options)
        except WorkerError as error:
            rows.append((case.label, f"not measured: {error}", "", "", "", ""))
            continue
        mine, theirs = found["fastlrp"].median, found["torch"].median
        apart = np.abs(np.divide(losses["fastlrp"], losses["torch"]) - 1).max()
        rows.append((
            case.label, str(found["fastlrp"]), str(found["torch"]), f"{theirs / mine:.1f}",
            f"{case.flops / mine / 1e9:.0f}", f"{apart:.0e}",
        ))  # fmt: skip
        asked.append(at_least(f"epoch at {case.label}: times torch's speed", theirs / mine, case.asked))
    with Worker(
        "benchmarks.sections.training:Rolling", options.threads, threads=options.threads, quick=options.quick
    ) as worker:
        worker.call("all")
        rolling = float(np.median([worker.call("all") for _ in range(3)]))
    ensembles = []
    for case in CASES:
        one, many = measure_members(case, options)
        ensembles.append((case.label, str(one), str(many), f"{many.median / one.median:.1f}"))
        what = f"{MEMBERS} members at {case.label}: times one network's time"
        asked.append(at_most(what, many.median / one.median, MEMBERS_TIMES))
    asked.append(at_most("rolling refits: seconds", rolling, ROLLING_SECONDS, "{:.2f} s"))
    return "\n\n".join([
        "## Training",
        "Seconds for an epoch, median of rounds that alternate; both from the same weights, in the same order of "
        "samples. The last column is the largest relative difference of the epochs' losses.",
        table(("(steps, features, units)", "fastlrp", "torch", "times faster", "GFLOP/s", "losses apart"), rows),
        f"`LSTMRegressor(n_members={MEMBERS})` beside one network, 4 epochs. Where batches are large one network uses "
        "all threads by itself, so that ten take nearly ten times its time.",
        table(("(steps, features, units)", "one", f"{MEMBERS} members", "times one"), ensembles),
        f"Rolling refits, {ROLLING['models'] // (10 if options.quick else 1)} models of {ROLLING['samples']} samples, "
        f"({ROLLING['steps']}, {ROLLING['features']}, {ROLLING['units']}), {ROLLING['epochs']} epochs of batches of "
        f"{ROLLING['batch']}: {rolling:.2f} s.",
        goals(asked),
        machine.describe(("fastlrp", "Numba", "NumPy", "torch"), options.threads),
    ])  # fmt: skip
