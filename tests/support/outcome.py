"""What a solution and its derivatives come to: right, NaN, or an error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.support.compare import assert_close, numbers


def outcome(f, x):
    """Value, Jacobian in both modes and second derivative of f at x."""
    first = jax.jacrev(lambda x: (f(x),) * 2, has_aux=True)
    second, (reverse, value) = jax.jacfwd(lambda x: (first(x)[0], first(x)), has_aux=True)(x)
    return {"value": value, "reverse": reverse, "forward": jax.jacfwd(f)(x), "second": second}


def compiled(f, x):
    """The outcome at x, in one program."""
    return jax.jit(lambda x: outcome(f, x))(x)


def mapped(f, xs):
    """The outcomes at all xs, in one program under vmap."""
    return jax.jit(jax.vmap(lambda x: outcome(f, x)))(xs)


def eager(f, x):
    """Value, and derivative in reverse mode, each by a call outside jit."""
    return {"value": f(x), "reverse": jax.jacrev(f)(x)}


def lane(outcomes, i):
    """One lane of mapped outcomes."""
    return jax.tree.map(lambda x: x[i], outcomes)


def is_right(actual, expected, rtol):
    """Whether every entry is within rtol of the largest number expected in it."""
    return all(_error(actual[k], expected[k]) <= rtol for k in actual)


def assert_right(actual, expected, rtol=1e-9):
    """Every entry of an outcome is right."""
    for k in actual:
        assert_close(actual[k], expected[k], rtol)


def assert_nan(actual):
    """Every number of every entry is NaN."""
    for k, v in actual.items():
        assert np.all(np.isnan(numbers(v))), f"{k}: {v}"


def assert_right_or_nan(actual, expected, rtol):
    """Every entry is right or NaN throughout."""
    for k, v in actual.items():
        silent = not np.all(np.isnan(numbers(v)))
        assert not silent or _error(v, expected[k]) <= rtol, f"{k}: {v}, not {expected[k]}"


def assert_raises_everywhere(f, x, message):
    """Eager, compiled, mapped, and when nothing but a derivative is used: f raises at x."""
    pair = jax.tree.map(lambda x: jnp.stack([x, x]), x)
    calls = {
        "eager value": lambda: f(x),
        "eager grad": lambda: jax.jacrev(f)(x),
        "jit": lambda: jax.jit(f)(x),
        "jit(jacfwd)": lambda: jax.jit(jax.jacfwd(f))(x),
        "jit(jacrev)": lambda: jax.jit(jax.jacrev(f))(x),
        "jit(hessian)": lambda: jax.jit(jax.hessian(f))(x),
        "jit(vmap(jacrev))": lambda: jax.jit(jax.vmap(jax.jacrev(f)))(pair),
    }
    for name, call in calls.items():
        try:
            with pytest.raises(Exception, match=message):
                jax.block_until_ready(call())
        except pytest.fail.Exception:
            pytest.fail(f"{name} did not raise")


def _error(actual, expected):
    a, e = numbers(actual), numbers(expected)
    error = np.max(np.abs(a - e), initial=0.0) / (np.max(np.abs(e), initial=0.0) or 1.0)
    return np.inf if np.isnan(error) else error
