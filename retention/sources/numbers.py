"""Bounds of clocks that count: exact numbers as literals."""

from __future__ import annotations

import math
from fractions import Fraction


def least_float(value: Fraction) -> float:
    """The least float that is not less than ``value``: for floats, ``x < least_float(v)`` is ``x < v``."""
    nearest = float(value)
    return nearest if Fraction(nearest) >= value else math.nextafter(nearest, math.inf)


def decimal_text(value: Fraction) -> str:
    """Exact: the denominator divides a million."""
    scaled = int(value * 1_000_000)
    sign, digits = ("-" if scaled < 0 else ""), f"{abs(scaled):07}"
    return f"{sign}{digits[:-6]}.{digits[-6:]}"
