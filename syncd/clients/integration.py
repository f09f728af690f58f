"""Whom we say we are where Amplitude's own sender would speak (vendor page 1)."""

from collections.abc import Mapping

CONTEXT: Mapping[str, Mapping[str, str]] = {
    "integration": {"name": "Amplitude Cohort Sync", "version": "1.0.0"}
}
"""The `context` of every list call and of every identify; receivers look for it."""
