"""What notebooks show of estimators: scikit-learn's own display, and below it what was fitted."""

from __future__ import annotations

import html
from typing import Any

from fastlrp.messages import count, shown

_WINDOWS = 5  # of a rolling fit that are shown, its last


class ShowsFit:
    """An estimator whose fitted networks stand below scikit-learn's own display of it."""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)  # type: ignore[misc]  # BaseEstimator's
        if "text/html" in bundle:
            bundle["text/html"] += _fitted(self)
        return bundle

    def _repr_html_inner(self) -> str:
        own: str = super()._repr_html_inner()  # type: ignore[misc]  # as above
        return own + _fitted(self)


def _fitted(model: Any) -> str:
    """The network, or the last windows and the last network of a rolling fit; nothing of what is not fitted."""
    if hasattr(model, "windows_"):
        windows, n = model.windows_, len(model.windows_)
        last = next((net for net in reversed(model.networks_) if net is not None), None)
        what = f"{count(n, 'window')}" + (f", the last {_WINDOWS}" if n > _WINDOWS else "")
        head = f"<p>{what}, and the network of the last that was fitted:</p>"
        return f"<div>{head}{windows.tail(_WINDOWS).to_html()}{'' if last is None else last._repr_html_()}</div>"
    if not hasattr(model, "network_"):
        return ""
    head = f"network_, {count(int(model.n_iter_), 'epoch')}" if hasattr(model, "n_iter_") else "network_"
    return f"<div><p>{html.escape(shown(head))}:</p>{model.network_._repr_html_()}</div>"
