"""Cases of a test that the quick tests take, and those that they leave out."""

import pytest


def case(*values, quick, **options):
    """A case with these values."""
    return pytest.param(*values, marks=[] if quick else [pytest.mark.slow], **options)


def slow(*values):
    """A case that the quick tests leave out."""
    return case(*values, quick=False)


def slow_among(names, *left_out):
    """All names, those left out by the quick tests among them."""
    assert not set(left_out) - set(names), "no such name"
    return [case(name, quick=name not in left_out) for name in names]
