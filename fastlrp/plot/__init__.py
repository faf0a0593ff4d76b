"""Pictures of relevance: functions that take results of ``explain`` and draw on matplotlib, with no pyplot state.

Each returns a matplotlib Figure, which notebooks show and ``figure.savefig("name.png")`` writes; or the Axes that it
was given as ``ax=``. Needs the extra ``fastlrp[plot]``.
"""

from fastlrp.plot.maps import heat_map
from fastlrp.plot.shares import bars

__all__ = ["bars", "heat_map"]
