"""Alembic's folder: one file per schema step, newest last."""
