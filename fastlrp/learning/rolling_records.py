"""What a folder of finished windows says about them: the settings that decide a fit, and each window's arrays."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastlrp.learning.checkpoints import fingerprint
from fastlrp.learning.rolling_data import RollingData
from fastlrp.learning.rolling_fit import Kept
from fastlrp.model.fingerprint import fingerprint as network_fingerprint
from fastlrp.model.plain import arrays_of, with_arrays
from fastlrp.network import Network

Array = npt.NDArray[Any]

#: Parameters of the estimator that do not change a result, and so may differ when a fit resumes.
_NO_MATTER = {"verbose", "threads", "device", "rule", "warm_start", "random_state", "validation_fraction"}
_OWN = ("window", "expanding", "step", "gap", "scaler", "validation", "warm_start")


def settings_of(rolling: Any, model: Any, data: RollingData) -> dict[str, Any]:
    """Everything that decides the result of a fit, as JSON values."""
    params = {key: _plain(value) for key, value in model.get_params(deep=False).items() if key not in _NO_MATTER}
    if rolling.validation is None:  # nothing stops early
        del params["tol"], params["n_iter_no_change"]
    own = {("first_weights" if key == "warm_start" else key): getattr(rolling, key) for key in _OWN}
    chosen = None if rolling.settings is None else [
        {key: _plain(value) for key, value in setting.items()} for setting in rolling.settings
    ]  # fmt: skip
    state = model.random_state if isinstance(model.random_state, int | np.integer) else None
    given = {**params, **own, "settings": chosen, "random_state": _plain(state), "data": _mark(data)}
    return {key: _plain(value) for key, value in given.items()}


def _mark(data: RollingData) -> str:
    """A hash of the data, row by row as they are sorted."""
    rows = np.arange(len(data.period))
    at = data.caller(rows)
    besides = [data.period, data.trains, data.targets.y[at]]
    if data.targets.weight is not None:
        besides.append(data.targets.weight[at])
    arrays = itertools.chain((block for _, block in data.read_blocks(rows)), besides)
    return fingerprint(arrays, [*map(str, data.times), *data.panel.features])


def _plain(value: Any) -> Any:
    """A parameter as a JSON value; a network by a hash of its weights, a transformer by its text."""
    if isinstance(value, Network):
        return network_fingerprint([value])
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    if hasattr(value, "get_params"):
        return [type(value).__qualname__, _plain(value.get_params(deep=False))]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list | np.ndarray):
        return [_plain(one) for one in value]
    return value if isinstance(value, str | int | float) or value is None else repr(value)


def record(kept: Kept, center: Array, scale: Array) -> dict[str, Array]:
    """A window's arrays, to be saved."""
    weights = {
        f"weight_{m}_{i}": array for m, net in enumerate(kept.networks) for i, array in enumerate(arrays_of(net))
    }
    rest = {"losses": kept.losses, "scores": kept.scores, "setting": np.array(kept.setting, np.float64)}
    return {**weights, **rest, "center": center, "scale": scale}


def read_record(
    found: Mapping[str, Array], blanks: Sequence[Network], n_members: int, dtype: Any, n_features: int, where: str
) -> tuple[Kept, tuple[Array, Array]]:
    """What :func:`record` saved, and the window's center and scale.

    Raises
    ------
    ValueError
        If an array is missing, or is not what this fit would have saved.
    """
    try:
        setting = int(found["setting"])
        if not 0 <= setting < len(blanks):
            raise ValueError(f"setting {setting} of {len(blanks)}")
        blank = blanks[setting]
        n = len(arrays_of(blank))
        networks = [with_arrays(blank, [found[f"weight_{m}_{i}"] for i in range(n)]) for m in range(n_members)]
        center, scale = found["center"], found["scale"]
        for name in ("center", "scale"):
            if found[name].shape != (n_features,) or found[name].dtype != dtype or not np.isfinite(found[name]).all():
                raise ValueError(f"{name} is not {n_features} finite numbers of {np.dtype(dtype)}")
        if not (scale > 0).all():
            raise ValueError("scale is not positive")
        losses, scores = found["losses"], found["scores"]
        if losses.ndim != 1 or not len(losses) or not np.isfinite(losses).all() or len(scores) not in (0, len(blanks)):
            raise ValueError("losses or scores are not those of a finished window")
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{where} does not fit ({error}): delete its file") from None
    return Kept(networks, losses, setting, scores), (center, scale)
