"""Pictures of relevance: functions that take results of ``explain`` and draw with matplotlib, without pyplot state.

Each returns a matplotlib Figure, which notebooks show and ``figure.savefig("name.png")`` writes; or the Axes
given as ``ax=``. Pictures need the extra ``fastlrp[plot]``.
"""

from fastlrp.plot.lags import lag_profile
from fastlrp.plot.legs import long_short
from fastlrp.plot.maps import heat_map, lag_map
from fastlrp.plot.series import lines
from fastlrp.plot.shares import bars
from fastlrp.plot.spread import spread
from fastlrp.plot.stacks import stacked
from fastlrp.plot.swarm import beeswarm
from fastlrp.plot.waterfall import waterfall

__all__ = [
    "bars",
    "beeswarm",
    "heat_map",
    "lag_map",
    "lag_profile",
    "lines",
    "long_short",
    "spread",
    "stacked",
    "waterfall",
]
