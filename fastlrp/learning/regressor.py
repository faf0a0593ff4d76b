"""The scikit-learn interface of an LSTM: data are checked here, ``training`` trains, ``kernels`` compute."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_random_state

from fastlrp.learning.inputs import TakesTargets
from fastlrp.learning.parameters import architecture_of, check_parameters
from fastlrp.learning.training import Schedule, all_or_nothing, epoch_bar, train
from fastlrp.messages import count, users_line
from fastlrp.model.plain import layers_of, plain_layers
from fastlrp.network import Network
from fastlrp.panels.samples import Samples, is_panel, refuse_other_index
from fastlrp.rules import Aggregate, Rule

if TYPE_CHECKING:
    from fastlrp.kernels.training.trainer import Trainer
    from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]


class LSTMRegressor(RegressorMixin, TakesTargets, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An LSTM network that can be trained, predict and be explained in any scikit-learn pipeline.

    Parameters have the names and meanings of scikit-learn's MLPRegressor; initial weights, gate order and Adam are
    those of Keras, and so is the loss (no factor of one half before squares).

    Parameters
    ----------
    units : tuple of int
        H of each LSTM layer, from the input up.
    dense_units : tuple of int
        Units of each hidden Dense layer (relu) between the last LSTM and the linear output.
    bidirectional : bool
        Read each window in both directions; outputs are concatenated.
    dropout : float in [0, 1)
        Share of units dropped in training, after each LSTM and each hidden Dense layer.
    alpha : float
        L2 penalty on kernels (W of LSTM and Dense layers): MLPRegressor's ``alpha/2 * sum(W**2) / n``, with n samples
        in a batch.
    steps : int or None
        T, the length of a window, for flat columns and panels; None: one step. Arrays (sample, step, feature) have it.
    batch_size, learning_rate_init, max_iter, shuffle, beta_1, beta_2, epsilon
        Settings of Adam and its epochs. A batch larger than the data holds all of the data.
    tol, n_iter_no_change : float, int
        Training stops when the loss (with ``early_stopping``, the validation score) has not improved by more than
        ``tol`` for more than ``n_iter_no_change`` epochs in a row. A patience of ``max_iter`` or more asks for exactly
        ``max_iter`` epochs, without a warning about convergence.
    early_stopping, validation_fraction : bool, float
        Hold out this share, stop by its R^2, and keep the best epoch's weights. Panels hold out their last periods;
        arrays hold out random samples, and their last ones where ``shuffle=False``.
    warm_start : bool
        ``fit`` continues from the weights of the last ``fit``.
    random_state : int, RandomState or None
        Seeds initial weights, order and dropout. Results have the same bits for any number of threads.
    verbose : bool
        Print how many rows train, and show a progress bar (tqdm, in the extra ``fastlrp[progress]``; else lines).
    rule : name or value of a rule; see :meth:`fastlrp.Network.explain`
        The rule that :meth:`explain` uses.
    dtype : {"float32", "float64", None}
        Dtype of training, predictions and relevance; None: float32 where X is, else float64, as in ``MLPRegressor``.
        float32 is twice as fast, and precise enough for data that are noisy.
    device : {"auto", "cpu", "cuda"}
        Where predictions and relevance are computed; training runs on the CPU.
    loss : {"squared_error", "absolute_error", "huber"}
        The loss, averaged over targets and samples.
    huber_delta : float
        The error at which "huber" turns from squared to absolute.
    clipnorm : float or None
        Largest norm of the gradient of all weights together (Keras' ``global_clipnorm``).
    threads : int or None
        CPU threads; None: Numba's own setting.

    Attributes
    ----------
    network_ : Network
        The trained network.
    layers_ : list of dict
        The same network as plain arrays, which is what pickle, joblib and skops see.
    loss_curve_, best_loss_ : list of float, float or None
        Mean loss of each epoch, and the lowest (None with ``early_stopping``).
    validation_scores_, best_validation_score_ : list of float or None, float or None
        R^2 on the held-out samples; None without ``early_stopping``.
    n_iter_, t_ : int
        Number of epochs of the last call, and of samples seen in all.
    n_features_in_, feature_names_in_, n_outputs_, steps_
        Number of columns of X (features, if X has three axes), their names if they are strings, number of targets, T.
    n_windows_, n_skipped_ : int
        Number of complete windows that the last call trained or validated on, and of rows of X that do not end one.

    Examples
    --------
    >>> model = LSTMRegressor(units=(16,), steps=12, random_state=0).fit(panel, y)      # doctest: +SKIP
    >>> model.explain(panel).by_time()                                                  # doctest: +SKIP
    """

    def __init__(
        self,
        units: Sequence[int] = (16,),
        dense_units: Sequence[int] = (),
        bidirectional: bool = False,
        dropout: float = 0.0,
        alpha: float = 0.0,
        steps: int | None = None,
        batch_size: int = 32,
        learning_rate_init: float = 1e-3,
        max_iter: int = 100,
        shuffle: bool = True,
        tol: float = 1e-4,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
        rule: str | Rule = "arras",
        dtype: str | None = "float32",
        device: str = "auto",
        loss: Literal["squared_error", "absolute_error", "huber"] = "squared_error",
        huber_delta: float = 1.0,
        clipnorm: float | None = None,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        threads: int | None = None,
    ) -> None:
        self.units = units
        self.dense_units = dense_units
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.alpha = alpha
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.rule = rule
        self.dtype = dtype
        self.device = device
        self.loss = loss
        self.huber_delta = huber_delta
        self.clipnorm = clipnorm
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.threads = threads

    # ---------------------------------------------------------------------------------------------------- training

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on windows and their targets.

        Parameters
        ----------
        X : array (sample, step, feature), array or frame (sample, step*feature), or panel
            Flat columns are step-major, oldest step first. A panel is a frame with a (time, asset) index: a row
            trains if a complete window of ``steps`` periods ends there and its target is not missing.
        y : array (sample,) or (sample, target); for panels also a Series or frame on the panel's own index
        sample_weight : array (sample,) or None
            Weight of each sample's loss; a sample of weight 0 is as good as absent.

        Raises
        ------
        ValueError
            If a parameter, X, y or the weights are not what is expected, or if training diverges at once. The message
            says what was given, what was expected, and where.
        """
        with all_or_nothing(self):
            self._fit(X, y, sample_weight)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        check_parameters(self)
        first = not (self.warm_start and hasattr(self, "_network"))
        samples, targets, weight = self._training_data(X, y, sample_weight, reset=first)
        if len(samples) < 2:
            raise ValueError(
                f"there is 1 sample to train on (n_samples = 1, of {count(samples.n_given, 'row')}), expected more"
            )
        if (targets == targets[0]).all():
            warnings.warn(
                f"y is constant ({targets[0, 0]:g}): that value is all the network can learn", stacklevel=users_line()
            )
        if first:
            self._begin(samples, targets.shape[1])
        used, held_out = self._split(samples, targets, weight)
        self._run(*used, epochs=self.max_iter, held_out=held_out, trainer=self._trainer())

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples, continuing from the weights and moments of the call before.

        Parameters and errors are those of :meth:`fit`.
        """
        check_parameters(self)
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True: it has no epochs to stop between")
        first = not hasattr(self, "_network")
        with all_or_nothing(self):
            samples, targets, weight = self._training_data(X, y, sample_weight, reset=first)
            if first:
                self._begin(samples, targets.shape[1])
            trainer = self._trainer()
            if not first:
                trainer.set_state(self._moments)
            self._run(samples, targets, weight, epochs=1, held_out=None, trainer=trainer)
        return self

    def _begin(self, samples: Samples, n_outputs: int) -> None:
        """Set the initial weights, and everything that counts from here."""
        self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self.steps_, self.n_outputs_ = samples.steps, n_outputs
        self._features = None if samples.features is None else list(samples.features)
        n_features = samples.rows.shape[1]
        rng = np.random.default_rng((self._seed,))
        self._network = architecture_of(self).network(
            n_features, n_outputs, rng, self._dtype, steps=samples.steps, features=self._features, outputs=self._outputs
        )
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = [] if self.early_stopping else None
        self.t_ = 0

    def _trainer(self) -> Trainer[Network]:
        from fastlrp.kernels.training.trainer import Trainer

        return Trainer(
            self._network,
            steps=self.steps_,
            loss=self.loss,
            huber_delta=self.huber_delta,
            alpha=self.alpha,
            learning_rate=self.learning_rate_init,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            clipnorm=self.clipnorm,
            dtype=self._dtype,
            seed=self._seed,
            threads=self.threads,
        )

    def _run(
        self,
        samples: Samples,
        y: Array,
        weight: Array | None,
        *,
        epochs: int,
        held_out: Callable[[Network], float] | None,
        trainer: Trainer[Network],
    ) -> None:
        """Run the epochs, and store their results."""
        with epoch_bar(self.verbose, epochs, type(self).__name__) as report:
            schedule = Schedule(
                epochs, self.batch_size, self.shuffle, self._seed, self.tol, self.n_iter_no_change,
                len(self.loss_curve_), held_out, report,
            )  # fmt: skip
            history = train(trainer, samples, y, weight, schedule)
        self._network = trainer.network()
        self._moments = trainer.get_state()
        self.n_iter_ = len(history.losses)
        self.t_ += self.n_iter_ * len(samples)
        self.loss_curve_ = self.loss_curve_ + history.losses
        self.best_loss_ = None if held_out else min(self.loss_curve_)
        self.validation_scores_ = (self.validation_scores_ or []) + history.scores if held_out else None
        self.best_validation_score_ = max(history.scores) if held_out else None
        if self.verbose and history.stopped:
            print(f"{type(self).__name__}: {history.stopped}")
        if epochs == self.max_iter > self.n_iter_no_change and not history.stopped:
            warnings.warn(
                f"the maximum of {epochs} epochs (max_iter) was reached and training has not converged yet: raise "
                "max_iter, or set n_iter_no_change=max_iter if that many epochs are what you want",
                ConvergenceWarning,
                stacklevel=users_line(),
            )

    def _split(
        self, samples: Samples, y: Array, weight: Array | None
    ) -> tuple[tuple[Samples, Array, Array | None], Callable[[Network], float] | None]:
        """The samples that train, and a function that scores a network on those held out, if there are any."""
        if not self.early_stopping:
            return (samples, y, weight), None
        out = self._held_out(samples)
        if out.sum() < 2 or out.all():
            raise ValueError(
                f"the validation set would have {out.sum()} of {count(len(samples), 'sample')}, expected at least 2 "
                "and some to train on: change validation_fraction, or give more data"
            )
        kept, scored = np.flatnonzero(~out), np.flatnonzero(out)
        windows, actual = samples.take(scored).windows(), y[scored]
        w = None if weight is None else weight[scored]

        def score(net: Network) -> float:
            predicted = cast(Array, net.predict(windows, device=self.device, threads=self.threads))
            return float(r2_score(actual, predicted.reshape(actual.shape), sample_weight=w))

        return (samples.take(kept), y[kept], None if weight is None else weight[kept]), score

    def _held_out(self, samples: Samples) -> Array:
        n = len(samples)
        order = np.arange(n)
        if samples.period is not None:  # the last whole periods, so that no period is on both sides
            times = np.unique(samples.period)
            first = times[-max(1, round(self.validation_fraction * len(times)))]
            return np.asarray(samples.period >= first)
        if self.shuffle:
            order = np.random.default_rng((self._seed, 2**31)).permutation(n)
        out = np.zeros(n, bool)
        out[order[n - int(np.ceil(self.validation_fraction * n)) :]] = True
        return out

    # ------------------------------------------------------------------------------------------------- use

    @property
    def network_(self) -> Network:
        """The trained network."""
        if "_network" not in vars(self):
            raise AttributeError("there is no network_ yet: this LSTMRegressor is not fitted")
        return self._network

    @property
    def layers_(self) -> list[dict[str, Any]]:
        """The network's layers as plain arrays."""
        return plain_layers(self.network_)

    def predict(self, X: Any) -> Array | pd.Series[float] | pd.DataFrame:
        """Predictions: an array, or for a panel a Series or frame on its own index, NaN where no complete window ends.

        Parameters
        ----------
        X : array, frame or panel
            As in :meth:`fit`; a model that was trained on one form predicts the others as well.

        Returns
        -------
        array, Series or DataFrame (sample,) or (sample, target), like y
        """
        X = self._input(X)
        predicted = self._network.predict(X, device=self.device, dtype=self._dtype, threads=self.threads)
        if isinstance(predicted, pd.Series):
            name = self._outputs[0] if self._outputs else 0
            return PanelPrediction(predicted) if self._flat_target else predicted.to_frame(name)
        if isinstance(predicted, np.ndarray) and predicted.ndim == 1 and not self._flat_target:
            return predicted[:, None]
        return predicted

    def explain(
        self,
        X: Any,
        *,
        rule: str | Rule | None = None,
        target: int | str | None = None,
        aggregate: Aggregate = "sequence",
        reduce: Literal["steps"] | None = None,
        progress: bool = False,
    ) -> Relevance:
        """Relevance of every input of every sample, for one output of the trained network.

        Parameters
        ----------
        X : array, frame or panel
            As in :meth:`fit`; a model that was trained on one form explains the others as well.
        rule : name or value of a rule, or None; see :meth:`fastlrp.Network.explain`
            The rule for the LSTMs; None: the model's own.
        target : int, str or None
            The output to explain, by position or name; required if there are several.
        aggregate : {"sequence", "average", "last"}
            The relevance that a lower LSTM gets from the one above: each step's own (conserves), the average over
            steps at the last step, or the most recent step's at the last step. True means "average", False "last".
        reduce : {"steps", None}
            "steps" sums over steps inside the kernel: values are (sample, feature), and nothing larger is allocated.
        progress : bool
            Show a progress bar (needs the package tqdm, the extra ``progress``).

        Returns
        -------
        Relevance
            With totals that reconcile: score = sum of relevance + initial_state + unattributed. For a panel, samples
            are its rows in their order, NaN where no complete window ends.

        Raises
        ------
        ValueError
            If an argument or X is not what is expected; the message says what was given, what was expected, and where.

        Warns
        -----
        ConservationWarning
            As by :meth:`fastlrp.Network.explain`.
        """
        X = self._input(X)
        return self._network.explain(
            X,
            rule=self.rule if rule is None else rule,
            target=target,
            aggregate=aggregate,
            reduce=reduce,
            device=self.device,
            dtype=self._dtype,
            threads=self.threads,
            progress=progress,
        )

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2; rows of a panel without a prediction or a target are left out.

        Raises
        ------
        ValueError
            If no row is left to score, or y is not on the panel's index.
        """
        if is_panel(X):
            refuse_other_index(X, y, "y")
        predicted = np.asarray(self.predict(X), np.float64)
        if not is_panel(X):
            return float(r2_score(y, predicted, sample_weight=sample_weight))
        actual = np.asarray(y, np.float64).reshape(predicted.shape)
        rows = np.asarray(np.isfinite(predicted + actual).reshape(len(predicted), -1).all(axis=1))
        if not rows.any():
            raise ValueError(
                f"nothing to score: none of the {count(len(rows), 'row')} has both a prediction and a target"
            )
        weight = None if sample_weight is None else np.asarray(sample_weight)[rows]
        return float(r2_score(actual[rows], predicted[rows], sample_weight=weight))

    # ------------------------------------------------------------------------------------------------ scikit-learn

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_network" in state:  # as plain arrays, which any version of this class understands
            state["layers_"] = plain_layers(state.pop("_network"))
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        layers = state.pop("layers_", None)
        super().__setstate__(state)
        if layers is not None:
            self._network = Network(
                layers_of(layers), steps=self.steps_, features=self._features, outputs=self._outputs
            )


class PanelPrediction(pd.Series):
    """A Series of predictions with NumPy's ``reshape``, which scikit-learn's meta-estimators call on any prediction."""

    @property
    def _constructor(self) -> type[pd.Series]:
        return pd.Series

    def reshape(self, *shape: Any) -> Array:
        """The values in another shape."""
        return self.to_numpy().reshape(*shape)
