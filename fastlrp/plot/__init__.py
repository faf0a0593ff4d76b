"""Pictures of relevance: functions that take results of ``explain`` and draw with matplotlib, without pyplot state.

Each returns a matplotlib Figure, which notebooks show and ``figure.savefig("name.png")`` writes; or the Axes
given as ``ax=``. Pictures need the extra ``fastlrp[plot]``.
"""

from fastlrp.plot.maps import heat_map, lag_map
from fastlrp.plot.series import lines, stacked
from fastlrp.plot.shares import bars

__all__ = ["bars", "heat_map", "lag_map", "lines", "stacked"]
