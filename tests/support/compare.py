"""Comparisons of trees of numbers."""

import jax
import numpy as np


def numbers(tree):
    """All numbers of a tree in one NumPy vector."""
    leaves = [np.asarray(x).reshape(-1) for x in jax.tree.leaves(tree)]
    return np.concatenate(leaves) if leaves else np.zeros(0)


def relative_error(actual, expected):
    """The largest error in units of the largest expected number (of 1 where all are zero)."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected), (
        jax.tree.structure(actual),
        jax.tree.structure(expected),
    )
    shapes = [jax.tree.map(np.shape, t) for t in (actual, expected)]
    assert shapes[0] == shapes[1], shapes
    a, e = numbers(actual), numbers(expected)
    size = np.max(np.abs(e), initial=0.0)
    error = np.max(np.abs(a - e), initial=0.0) / (size or 1.0)
    return np.inf if np.isnan(error) else float(error)


def assert_close(actual, expected, rtol=1e-9):
    """Same structure, same shapes, and within rtol of the largest expected number."""
    error = relative_error(actual, expected)
    assert error <= rtol, f"relative error {error:.2e} > {rtol:.0e}\n{actual}\n{expected}"


def all_nan(tree):
    """Whether every number of a tree is NaN."""
    return bool(np.all(np.isnan(numbers(tree))))


def no_nan(tree):
    """Whether no number of a tree is NaN."""
    return not np.any(np.isnan(numbers(tree)))
