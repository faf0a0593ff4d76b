"""The scikit-learn interface of an LSTM: ``inputs`` checks data, ``fitting`` fits, ``training`` trains, ``kernels``
compute."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin

from fastlrp.ensemble import Ensemble
from fastlrp.learning.fitting import Fitting
from fastlrp.learning.notebook import ShowsFit
from fastlrp.learning.parameters import (
    asked_steps,
    check_parameters,
    known_steps,
    padding_of,
    refuse_short,
    refuse_static,
    static_names,
)
from fastlrp.learning.scoring import PanelPrediction, scored
from fastlrp.learning.training import all_or_nothing
from fastlrp.messages import count
from fastlrp.model.plain import layers_of, plain_layers
from fastlrp.network import Network
from fastlrp.panels.samples import is_panel, refuse_other_index
from fastlrp.rules import Aggregate, Rule

if TYPE_CHECKING:
    from fastlrp.relevance.result import Relevance

Array = npt.NDArray[Any]


class LSTMRegressor(RegressorMixin, ShowsFit, Fitting, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An LSTM network that can be trained, predict and be explained in any scikit-learn pipeline.

    Parameters have the names and meanings of scikit-learn's MLPRegressor; initial weights, gate order and Adam are
    those of Keras, and so is the loss (no factor of one half before squares).

    Parameters
    ----------
    units : tuple of int
        H of each LSTM layer, from the input up.
    dense_units : tuple of int
        Units of each hidden Dense layer between the last LSTM and the linear output.
    bidirectional : bool
        Read each window in both directions; outputs are concatenated.
    dropout : float in [0, 1)
        Share of units dropped in training, after each LSTM and each hidden Dense layer.
    alpha : float
        L2 penalty on kernels (W of LSTM and Dense layers): MLPRegressor's ``alpha/2 * sum(W**2) / n``, with n samples
        in a batch. Keras' ``kernel_regularizer=L2(l2)`` adds ``l2 * sum(W**2)`` to each batch's loss, so that
        ``alpha = 2 * l2 * batch_size`` is the same penalty.
    steps : int or None
        T, the length of a window, for panels, which need it, and for flat columns (None: one step). Arrays (sample,
        step, feature) have it.
    batch_size, learning_rate_init, max_iter, shuffle, beta_1, beta_2, epsilon
        Settings of Adam and its epochs. A batch larger than the data holds all of the data.
    tol, n_iter_no_change : float, int
        Training stops when the loss has not improved by more than ``tol`` for more than ``n_iter_no_change`` epochs in
        a row. ``tol`` is a part of the loss of the best constant prediction (of the targets' variance, for squared
        errors), so that the units of y do not matter; with ``early_stopping`` it is a part of R^2. A patience of
        ``max_iter`` or more asks for exactly ``max_iter`` epochs, without a warning about convergence.
    early_stopping, validation_fraction : bool, float
        Hold out this share, stop by its R^2, and keep the best epoch's weights. Panels hold out their last periods;
        arrays hold out random samples, and their last ones where ``shuffle=False``.
    warm_start : bool
        ``fit`` continues from the weights, and with the target transform, of the last ``fit``.
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
    n_members : int
        Number of networks, each from its own seed, that are trained side by side and predict as one. With ``network``
        they differ only by the order of samples and by dropout. Ctrl-C keeps what was trained once every member has
        had an epoch.
    target_transform : {"standardize", "rank", "demean"}, transformer or None
        What the networks learn instead of y, fitted on the targets that train: y less its mean, over its standard
        deviation; its rank among the assets of each period (scaled to [-1, 1]) or its deviation from their mean; or
        any transformer of scikit-learn with an inverse. ``predict`` undoes it, except for ranks and deviations, which
        have no way back: there predictions are ranks and deviations, and :meth:`score` compares them with y's.
        Relevance always adds up to the network's own output, in the transformed units. Scores by ranks and by y cannot
        be compared, as in a grid search over both. The rows of an array are one period.
    network : Network or None
        The network to start from, instead of one drawn as ``units``, ``dense_units``, ``dense_activation``,
        ``bidirectional`` and ``dropout`` say: from :func:`fastlrp.read_keras`, or built from layers.
    dense_activation : {"relu", "linear", "tanh", "sigmoid", "leaky_relu", "elu", "selu", "silu", "gelu", ...}
        Activation of hidden Dense layers.
    static : list of str or None
        Columns of a panel that are static features, such as sectors and size: a window has one value of each, that of
        its last period, which joins the last LSTM's output. None: those that ``network`` names, if it has some.
    min_steps : int or None
        Train on, predict and explain short histories of a panel, too: where an asset has no earlier row within
        ``steps`` periods, from so many on. The network then begins with :class:`fastlrp.Masking`, and the steps before
        them are masked. In arrays, masked steps have its value (-999, unless ``network`` has another) in every feature.

    Attributes
    ----------
    network_ : Network, or Ensemble where ``n_members`` is above 1
        The trained network.
    layers_ : list of dict, or a list of these for an ensemble
        The same network as plain arrays, which is what pickle, joblib and skops see.
    loss_curve_, best_loss_ : list of float, float or None
        Mean loss of each epoch, and the lowest (None with ``early_stopping``); of an ensemble, the mean over members
        that trained so long.
    loss_curves_ : list of list of float
        Mean loss of each member's epochs.
    validation_scores_, best_validation_score_ : list of float or None, float or None
        R^2 on the held-out samples, in the units that the networks learn, of an ensemble the mean of its members' own;
        None without ``early_stopping``.
    n_iter_, t_ : int
        Number of epochs of the last call (of an ensemble, its longest), and of samples seen in all, by all members.
    stopped_ : str
        Why the last call ended before ``max_iter`` epochs (of an ensemble, why its first member did); "" if it did not.
    target_transformer_ : transformer or None
        The fitted ``target_transform``.
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
        n_members: int = 1,
        target_transform: Any = None,
        network: Network | None = None,
        dense_activation: str = "relu",
        static: Sequence[str] | None = None,
        min_steps: int | None = None,
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
        self.n_members = n_members
        self.target_transform = target_transform
        self.network = network
        self.dense_activation = dense_activation
        self.static = static
        self.min_steps = min_steps

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

    def fit_file(
        self,
        source: str | os.PathLike[str],
        target: str | Sequence[str],
        *,
        sample_weight: str | None = None,
        columns: Sequence[str] | None = None,
        index: tuple[str | None, str | None] | None = None,
        where: Any = None,
        memory: int | str = "1GB",
        scratch: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Train on a panel in files, which may be larger than memory; weights are those of :meth:`fit`, bit for bit.

        Assets count in the order of their values, where :meth:`fit` follows that of categories.

        Rows are read once, sorted by asset into a file of ``scratch``, and read from there, the windows of some
        batches at a time; where all of them fit into ``memory`` they stay there.

        Parameters
        ----------
        source : path
            A Parquet, Arrow IPC (Feather), HDF5 or csv file, or a folder of files of one kind: a row a time and asset,
            by asset or by time; as :func:`fastlrp.explain_file` reads them.
        target : str or list of str
            Columns to predict; rows without them do not train.
        sample_weight : str or None
            The column of weights.
        columns : list of str or None
            The features; None: those that the model knows, else all other columns of numbers.
        index : (str, str) or None
            The columns of time and asset; None, also for one of them: recognised as the command line does.
        where : pyarrow expression or list of tuples
            Rows to use, as ``[("region", "==", "US")]``.
        memory : int or str
            Most bytes of rows and windows to hold, as ``2_000_000_000`` or "2GB", beside Python, its packages and about
            100 bytes a row of the panel.
        scratch : path or None
            The folder for the rows, 4 or 8 bytes a value; None: the system's for temporary files. Nothing stays there.

        Raises
        ------
        ValueError
            As by :meth:`fit`, and if a file or an argument is not what is expected.
        ImportError
            If pyarrow is missing.
        """
        from fastlrp.kernels.cpu import threads_of
        from fastlrp.learning.file_panel import Asked, file_panel

        asked = Asked(source, target, sample_weight, columns, index, where, memory, scratch)
        refuse_static(self)
        with all_or_nothing(self):
            first = self._starts_anew()
            refuse_short(self, "fit_file")
            steps = known_steps(self) if first else self.steps_
            known = self._chosen if first else self._features
            if not first and columns is not None and known is not None and list(columns) != known:
                raise ValueError(f"columns= names {list(columns)}, but warm_start=True goes on with {known}")
            readers = min(self.n_members, threads_of(self.threads))
            with file_panel(asked, steps, known, self.dtype if first else self._dtype, readers=readers) as panel:
                if first:
                    self._as_given = panel.dtype.name
                    self._learn_features(len(panel.features), list(panel.features))
                elif len(panel.features) != self._width:
                    raise ValueError(
                        f"{source} has {count(len(panel.features), 'feature')}, but warm_start=True goes on with "
                        f"{self._width}: name them by columns=[...]"
                    )
                self._fit_samples(*self._usable(panel.samples(), panel.targets, reset=first), panel.index, first)
        return self

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> None:
        first = self._starts_anew()
        data = self._training_data(X, y, sample_weight, reset=first)
        self._fit_samples(*data, X.index if is_panel(X) else None, first)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples, continuing from the weights and moments of the call before.

        Parameters and errors are those of :meth:`fit`. A target transform is fitted on the first call's targets.
        """
        check_parameters(self)
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True: it has no epochs to stop between")
        first = not hasattr(self, "_networks")
        with all_or_nothing(self):
            samples, targets, weight = self._training_data(X, y, sample_weight, reset=first)
            if first:
                self._begin(samples, targets.shape[1])
            index = X.index if is_panel(X) else None
            targets = self._learnt(targets, index, samples.caller, first)
            self._run(samples, targets, weight, epochs=1, held_out=None, moments=None if first else self._moments)
        return self

    # ------------------------------------------------------------------------------------------------- use

    @property
    def network_(self) -> Network | Ensemble:
        """The trained network, or the ensemble of them."""
        if "_networks" not in vars(self):
            raise AttributeError("there is no network_ yet: this LSTMRegressor is not fitted")
        return self._networks[0] if len(self._networks) == 1 else Ensemble(self._networks)

    @property
    def layers_(self) -> list[Any]:
        """The layers as plain arrays, of the network, or of each member."""
        plain = [plain_layers(net) for net in self._networks]
        return plain[0] if len(plain) == 1 else plain

    def predict(self, X: Any) -> Array | pd.Series[float] | pd.DataFrame:
        """Predictions: an array, or for a panel a Series or frame on its own index, NaN where no complete window ends.

        Parameters
        ----------
        X : array, frame or panel
            As in :meth:`fit`; a model that was trained on one form predicts the others as well.

        Returns
        -------
        array, Series or DataFrame (sample,) or (sample, target), like y
            In y's units; with ``target_transform`` "rank" or "demean", in those.
        """
        X = self._input(X)
        least = self.min_steps if is_panel(X) else None
        given = self.network_.predict(
            X, min_steps=least, device=self.device, dtype=self._dtype, threads=self.threads
        )  # fmt: skip
        predicted = np.asarray(given).reshape(len(given), -1)
        if self._transform is not None:
            predicted = self._transform.undo(predicted)
        if is_panel(X):
            if self._flat_target:
                return PanelPrediction(predicted[:, 0], X.index, name="prediction")
            return pd.DataFrame(predicted, X.index, list(self._outputs or range(self.n_outputs_)))
        return predicted[:, 0] if self._flat_target else predicted

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
        return self.network_.explain(
            X,
            min_steps=self.min_steps if is_panel(X) else None,
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
        """R^2 of predictions, against the mean of the scored targets; rows of a panel without a prediction or a target
        are left out.

        The mean is that of the rows that are scored, which nobody knew before: forecasts of returns are more often
        judged against zero. With ``target_transform`` "rank" or "demean", y is transformed likewise.

        Raises
        ------
        ValueError
            If no row is left to score, or y is not on the panel's index.
        """
        panel = is_panel(X)
        if panel:
            refuse_other_index(X, y, "y")
            refuse_other_index(X, sample_weight, "sample_weight")
        predicted = np.asarray(self.predict(X), np.float64)
        return scored(predicted, y, X.index if panel else None, self._transform, sample_weight, missing=panel)

    # ------------------------------------------------------------------------------------------------ scikit-learn

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_networks" in state:  # as plain arrays, which skops and other safe formats hold
            state["layers_"] = [plain_layers(net) for net in state.pop("_networks")]
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        state = dict(state)
        layers = state.pop("layers_", None)
        super().__setstate__(state)
        if layers is not None:
            S = state.get("_n_static", 0)
            named, cut = self._features or [], len(self._features or ()) - S
            features, static = (named[:cut] or None, named[cut:] if S else None)
            self._networks = [
                Network(layers_of(plain), steps=self.steps_, features=features, static=static, outputs=self._outputs)
                for plain in layers
            ]

    @property
    def _asked_steps(self) -> int | None:
        return asked_steps(self)

    @property
    def _static(self) -> list[str]:
        """Columns of a panel that are static features."""
        return static_names(self)

    @property
    def _short(self) -> dict[str, Any]:
        return {} if self.min_steps is None else {"least": self.min_steps, "padding": padding_of(self)}

    @property
    def _chosen(self) -> list[str] | None:
        """The inputs that the user's own network names."""
        named = None if self.network is None else self.network.features
        return None if named is None else list(named)
