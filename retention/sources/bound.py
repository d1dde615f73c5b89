"""Binding record classes to tables: the one place from which the rings above take it."""

from retention.sources.bind import bind
from retention.sources.bound_class import BoundClass, BoundDependent
from retention.sources.check import check, check_condition
from retention.sources.keys import key_from_text, key_text

__all__ = ["BoundClass", "BoundDependent", "bind", "check", "check_condition", "key_from_text", "key_text"]
