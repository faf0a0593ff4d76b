"""Predictions and relevance on Dask, lazily and on many machines: of DataFrames, of arrays, and of folders of files.

Numbers are those of :meth:`fastlrp.Network.explain` on the whole panel in memory, bit for bit. Each of Dask's tasks
computes on one thread, unless ``threads=`` says otherwise: a worker runs as many tasks at once as it has threads, so
that all together never use more cores than Dask was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt

from fastlrp.cluster.engine import is_dask_array, is_dask_frame
from fastlrp.model.ensemble import AnyNetwork
from fastlrp.rules import Aggregate, Rule

if TYPE_CHECKING:
    from fastlrp.cluster.parts import explain_files

__all__ = ["explain", "explain_files", "predict"]


def predict(
    data: Any,
    net: AnyNetwork,
    *,
    steps: int | None = None,
    min_steps: int | None = None,
    index: tuple[str, str] | None = None,
    shuffle: bool = False,
    device: str = "auto",
    dtype: npt.DTypeLike | None = None,
    threads: int = 1,
) -> Any:
    """Predictions for a dask DataFrame or array, lazily; arguments and errors are those of :func:`explain`.

    Returns
    -------
    dask DataFrame or array
        For a frame one on the same index and divisions: the columns of time and asset, and ``prediction`` (or
        ``prediction[NAME]`` for each output). For an array (sample,) or (sample, output).
    """
    options: dict[str, Any] = {
        "steps": steps,
        "min_steps": min_steps,
        "device": device,
        "dtype": dtype,
        "threads": threads,
    }
    if _is_array(data, index, shuffle):
        from fastlrp.cluster.arrays import predict_array

        return predict_array(data, net, **options)
    from fastlrp.cluster.frames import over_partitions

    return over_partitions(data, net, index=index, shuffle=shuffle, **options)


def explain(
    data: Any,
    net: AnyNetwork,
    *,
    rule: str | Rule = "arras",
    steps: int | None = None,
    min_steps: int | None = None,
    target: int | str | None = None,
    aggregate: Aggregate = "sequence",
    reduce: Literal["none", "steps"] | None = "none",
    index: tuple[str, str] | None = None,
    shuffle: bool = False,
    device: str = "auto",
    dtype: npt.DTypeLike | None = None,
    threads: int = 1,
) -> Any:
    """Relevance of every input of every sample of a dask DataFrame or array, lazily.

    A frame's partitions hold whole assets, in any order. Times and assets of all of them are read first, since which
    times follow each other, and whether an asset stands in two partitions, shows in the whole panel alone. Of files
    only these two columns are then read; a frame that is costly to make is best persisted before.

    Parameters
    ----------
    data : dask DataFrame, or dask array (sample, step, feature)
        A frame has a row a time and asset; each of the two is a column or a level of the index. An array's chunks run
        along samples only.
    net : Network or Ensemble
        It travels to each worker once. For an array, relevance is that of a Network.
    rule, steps, min_steps, target, aggregate, dtype
        As in :meth:`fastlrp.Network.explain`.
    reduce : {"none", "steps"}
        A number for every feature and step, or summed over steps. A frame's rows have one step, and columns no lag,
        where the network has no recurrent layer.
    index : (str, str) or None
        The names of time and asset; None: recognised by type and name.
    shuffle : bool
        Move rows between partitions until each asset is in one; divisions are then not known.
    device : {"auto", "cpu"}
        The CPU computes.
    threads : int
        Threads of each task.

    Returns
    -------
    dask DataFrame or LazyRelevance
        For a frame one on the same index and divisions, with the columns that :func:`fastlrp.explain_file` writes:
        time and asset where they were columns, NAME (or NAME_lagK) for each feature, and the totals. For an array a
        dask array for each of a Relevance's; ``compute()`` gives the Relevance.

    Raises
    ------
    ValueError
        If an argument is not what is expected; if an asset stands in two partitions or values are infinite, when it is
        computed. The message says what was given, what was expected, and where.
    ImportError
        If Dask is missing.

    Examples
    --------
    >>> ddf = dask.dataframe.read_parquet("panel/")                                # doctest: +SKIP
    >>> fl.cluster.explain(ddf, net, reduce="steps").to_parquet("relevance/")      # doctest: +SKIP
    """
    options: dict[str, Any] = {
        "rule": rule, "steps": steps, "min_steps": min_steps, "target": target, "aggregate": aggregate,
        "reduce": reduce, "device": device,
        "dtype": dtype, "threads": threads,
    }  # fmt: skip
    if _is_array(data, index, shuffle):
        from fastlrp.cluster.arrays import explain_array

        return explain_array(data, net, **options)
    from fastlrp.cluster.frames import over_partitions

    return over_partitions(data, net, index=index, shuffle=shuffle, **options)


def __getattr__(name: str) -> Any:
    if name != "explain_files":
        raise AttributeError(f"module 'fastlrp.cluster' has no attribute {name!r}")
    from fastlrp.cluster.parts import explain_files  # needs pyarrow

    return explain_files


def _is_array(data: object, index: object, shuffle: bool) -> bool:
    """Whether it is an array, not a frame.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if not is_dask_array(data):
        if is_dask_frame(data):
            return False
        raise ValueError(
            f"fl.cluster takes a dask DataFrame or array, not {type(data).__module__.partition('.')[0]}'s "
            f"{type(data).__name__}: net.explain and net.predict take what is in memory"
        )
    if index is not None or shuffle:
        raise ValueError("index= and shuffle= are for DataFrames, but a dask array was given: leave them out")
    return True
