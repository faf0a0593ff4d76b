"""Errors and warnings that users meet."""

from __future__ import annotations


class ModelFileError(ValueError):
    """A model file cannot be read or represented; the message says which part, and what to do."""


class ConservationWarning(UserWarning):
    """A relevance result leaves a large part of the score unattributed."""
