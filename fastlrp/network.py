"""The network that users build: a chain of layers that predicts and explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy.typing as npt

from fastlrp.explain import explain, predict
from fastlrp.model.chain import Chain
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.model.layers import Array
from fastlrp.relevance.result import Relevance
from fastlrp.rules import Aggregate, Rule

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class Explains:
    """Predictions and relevance, of a :class:`Network` or an :class:`fastlrp.Ensemble`."""

    def predict(
        self,
        X: Array | pd.DataFrame | pl.DataFrame,
        *,
        steps: int | None = None,
        static: Sequence[str] | None = None,
        device: str = "auto",
        dtype: npt.DTypeLike | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> Array | pd.Series | pd.DataFrame | pl.DataFrame:
        """Predictions for an array (sample, step, feature) or a panel.

        Parameters
        ----------
        X : array (sample, step, feature), oldest step first, or DataFrame with a (time, asset) index; or a polars one
            In the units that the network was trained on. A missing value (NaN) makes its sample's prediction NaN. An
            array on a GPU (CuPy, torch, JAX, Numba) is neither moved nor copied, and results stay beside it, as
            Numba arrays that ``cupy.asarray`` and ``torch.as_tensor(..., device="cuda")`` read in place. For a network
            with static features a pair ``[X, S]`` of arrays, (sample, step, feature) and (sample, static), or a panel.
        steps : int or None
            T, the length of a panel's windows in periods; optional if the network knows it.
        static : list of str or None
            Names of the columns of a panel that are the network's static features, in its order, where the network has
            no names for them. A window's are those of its last month; in other months they may be missing.
        device : {"auto", "cpu", "cuda"}
            "auto" uses a GPU if X is on it, or if one is available and there is much to compute. CUDA needs the
            package numba-cuda (the extra ``cuda``).
        dtype : float32, float64 or None
            Dtype of the computation; None: float32 if X is, else float64.
        threads : int or None
            CPU threads; None: Numba's own setting. With a GPU, they copy to and from it. Results do not depend on them.
        progress : bool
            Show a progress bar (needs the package tqdm, the extra ``progress``).

        Returns
        -------
        array (sample,) or (sample, output), or for a panel Series or DataFrame
            In the units of the network's target, after the output's activation. For a panel, on its own index and in
            its order, with NaN where no full window ends; for a polars frame one of time, asset and prediction.
            Infinite where the network's numbers were too large.

        Raises
        ------
        ValueError
            If the network does not take an argument or X, or if CUDA is requested but not available. The message says
            what was given, what was expected, and where.
        ImportError
            If ``progress`` is set and tqdm is missing.

        Warns
        -----
        OverflowWarning
            If numbers inside the network were too large for the dtype: the message counts and names the rows.
        RuntimeWarning
            If ``device="auto"`` chose a GPU that failed, and the CPU computed instead.

        Examples
        --------
        >>> net.predict(X)                                                # doctest: +SKIP
        >>> net.predict(panel, steps=5)                                   # doctest: +SKIP
        """
        net: AnyNetwork = self  # type: ignore[assignment]  # the classes that have this face are
        return predict(
            net, X, steps=steps, static=static, device=device, dtype=dtype, threads=threads, progress=progress
        )

    def explain(
        self,
        X: Array | pd.DataFrame | pl.DataFrame,
        *,
        rule: str | Rule = "arras",
        steps: int | None = None,
        static: Sequence[str] | None = None,
        target: int | str | None = None,
        aggregate: Aggregate = "sequence",
        reduce: Literal["steps"] | None = None,
        device: str = "auto",
        dtype: npt.DTypeLike | None = None,
        threads: int | None = None,
        progress: bool = False,
    ) -> Relevance:
        """Relevance of every input of every sample, for one output of the network.

        Relevance says how much each feature at each step contributed to the score, which is the output before its
        activation. It is in the score's units and adds up: ``score = sum of relevance + initial_state +
        unattributed``.

        Parameters
        ----------
        X : array (sample, step, feature), oldest step first, or DataFrame with a (time, asset) index; or a polars one
            In the units that the network was trained on. A sample with a missing value (NaN) is NaN throughout. An
            array on a GPU (CuPy, torch, JAX, Numba) is neither moved nor copied, and results stay beside it. For a
            network with static features a pair ``[X, S]`` of arrays, (sample, step, feature) and (sample, static), or a
            panel.
        rule : "arras", "rudder", "gradient_x_input", "integrated_gradients", or a value
            A name, with its defaults, or a value with parameters: ``fl.Arras(delta=1)``, ``fl.Rudder(...)``,
            ``fl.GradientXInput()``, ``fl.IntegratedGradients(n_steps=64)``. The last two are computed on the CPU alone.
        steps : int or None
            T, the length of a panel's windows in periods; optional if the network knows it.
        static : list of str or None
            Names of the columns of a panel that are the network's static features, in its order, where the network has
            no names for them. A window's are those of its last month; in other months they may be missing.
        target : int, str or None
            The output to explain, by position or by its name in ``outputs``; required if there are several.
        aggregate : {"sequence", "average", "last"}
            The relevance that a lower LSTM gets from the one above: each step's own (conserves), the average over
            steps at the last step, or the most recent step's at the last step. True means "average", False "last".
            Gradients take "sequence" alone.
        reduce : {"steps", None}
            "steps" sums over steps inside the kernel: values are (sample, feature), and nothing larger is allocated.
        device : {"auto", "cpu", "cuda"}
            "auto" uses a GPU if X is on it, or if one is available and there is much to compute. CUDA needs the
            package numba-cuda (the extra ``cuda``).
        dtype : float32, float64 or None
            Dtype of the computation; None: float32 if X is, else float64.
        threads : int or None
            CPU threads; None: Numba's own setting. With a GPU, they copy to and from it. Results do not depend on them.
        progress : bool
            Show a progress bar (needs the package tqdm, the extra ``progress``).

        Returns
        -------
        Relevance
            ``values`` (sample, step, feature), or (sample, feature) if reduced, and ``static`` (sample, static) of
            static features; ``prediction``, ``score``,
            ``initial_state`` and ``unattributed``, one number per sample; for an ensemble, the means over its members,
            and their ``spread``. For a panel, samples are its rows in their
            order, NaN where no full window ends. ``summary()``, ``to_frame()`` and other methods make tables of it.

        Raises
        ------
        ValueError
            If an argument or X is not what is expected, or if CUDA is requested but not available. The message says
            what was given, what was expected, and where.
        ImportError
            If ``progress`` is set and tqdm is missing.

        Warns
        -----
        ConservationWarning
            If the rule is Rudder or GradientXInput and leaves more than half of the score unattributed, at the median;
            or if IntegratedGradients has too few steps.
        OverflowWarning
            If numbers inside the network, or of the rule, were too large for the dtype: rows that ``overflowed`` have
            no relevance, and an infinite score unless only the rule's numbers were. Computed on the CPU alone.
        RuntimeWarning
            If ``device="auto"`` chose a GPU that failed, and the CPU computed instead.

        Examples
        --------
        >>> rel = net.explain(panel, rule="arras")                        # doctest: +SKIP
        >>> rel.summary(), rel.to_frame()                                 # doctest: +SKIP
        """
        net: AnyNetwork = self  # type: ignore[assignment]  # as above
        return explain(
            net,
            X,
            rule=rule,
            steps=steps,
            static=static,
            target=target,
            aggregate=aggregate,
            reduce=reduce,
            device=device,
            dtype=dtype,
            threads=threads,
            progress=progress,
        )


class Network(Explains, Chain):
    """A chain of layers from a window of features to a prediction.

    Parameters
    ----------
    layers : sequence of LSTM, Bidirectional, Dense, Dropout
        From the input up. The last recurrent layer must not return sequences.
    steps : int or None
        T, the length of a window, where it is fixed; panels then need no ``steps=``.
    features : list of str or None
        Names of the D input features, in the order of W's rows.
    static : list of str, int or None
        Names of the S static features, of which a sample has one value each, or their number. They join the output of
        the last recurrent layer in front of the first Dense above it, whose W has H + S rows, theirs last. ``predict``
        and ``explain`` then take ``[X, S]``, or a panel that has their columns.
    outputs : list of str or None
        Names of the output units, which ``target=`` accepts.
    name : str or None
        Shown in summaries.

    Raises
    ------
    ValueError
        If a layer does not fit the one below it.

    Examples
    --------
    >>> net = fl.Network([fl.LSTM(W, U, b), fl.Dense(V)], steps=5)        # doctest: +SKIP
    >>> rel = net.explain(X)                                              # doctest: +SKIP
    """
