"""A matplotlib Figure that notebooks show."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure


class Picture(Figure):
    """A Figure without pyplot that shows itself wherever a notebook asks an object for its picture.

    A plain Figure leaves that to pyplot's inline backend, which is not loaded unless somebody imports pyplot. If it is
    loaded, its own printer of Figures takes precedence over this method, so that a picture is shown once.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture, and its size on a page, in fewer pixels than it has, so that it is sharp on any screen."""
        file = BytesIO()
        self.savefig(file, format="png")
        width, height = self.get_size_inches()
        return file.getvalue(), {"width": round(96 * width), "height": round(96 * height)}
