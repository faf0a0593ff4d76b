"""The ensemble that users build: networks that predict and explain as one."""

from __future__ import annotations

from fastlrp.model.ensemble import Chains
from fastlrp.network import Explains


class Ensemble(Explains, Chains):
    """Networks that predict and explain as one: the mean over members, and their spread.

    One network's relevance holds much that another, trained from another seed, does not find. ``predict`` gives the
    mean of the members' predictions. ``explain`` gives the mean of their relevance, score, ``initial_state`` and
    ``unattributed``, which reconciles with the mean score; beside it stand the standard deviations over members
    (ddof=1): ``spread`` of the relevance, ``prediction_spread``, and ``share_spread`` of each feature's mean share.
    Both take a Network's arguments, and compute on the CPU. Beside the mean and the spread, only a block of some
    members' results is held, however many members and samples there are.

    With an output activation that is not linear, ``prediction`` is the mean of activated outputs, and so is not the
    activation of ``score``, which is the mean of outputs before it.

    Parameters
    ----------
    networks : sequence of Network
        At least two, with the same steps, features and outputs; their layers may differ.

    Raises
    ------
    ValueError
        If there are fewer, or a member differs; the message names it and how.

    Examples
    --------
    >>> nets = fl.Ensemble([fl.read_keras(path) for path in paths])       # doctest: +SKIP
    >>> rel = nets.explain(panel)                                         # doctest: +SKIP
    >>> rel.values, rel.spread, rel.agreement()                           # doctest: +SKIP
    """
