"""Errors and warnings that users meet."""

from __future__ import annotations


class ModelFileError(ValueError):
    """A model file cannot be read or represented; the message says which part, and what to do."""


class ArchitectureWarning(UserWarning):
    """A network was read from the shapes of its weights alone: what they do not tell was assumed."""


class OverflowWarning(UserWarning):
    """Numbers inside a network were too large for the dtype: some complete windows have no relevance, or a prediction
    that is infinite."""


class ConservationWarning(UserWarning):
    """A relevance result leaves a large part of the score unattributed."""
