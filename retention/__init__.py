"""Retention: policies in YAML, archived and then deleted records, holds that cannot lose a race."""

__version__ = "0.1.0"
