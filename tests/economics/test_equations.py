"""Equations that are wrong, and what is said of them; which variables occur."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini.economics import Model
from tests.support.economies import rbc

P = rbc.Params()


def model(equations, variables="x y", shocks="e", **options):
    return Model(equations, variables, shocks, **options)


equations = lambda lag, now, lead, shock, p: (
    now.x - 0.5 * lag.x - shock.e,
    now.y - 0.5 * lead.y - now.x,
)


@pytest.mark.parametrize(
    ("variables", "shocks", "error", "what"),
    [
        ("x x y", "e", ValueError, "'x' stands twice among the variables"),
        ("x y", "e e", ValueError, "'e' stands twice among the shocks"),
        ("x y", "x", ValueError, "'x' is both a variable and a shock"),
        ("", "e", ValueError, "at least one variable"),
        (["x", 1], "e", TypeError, "not by 1"),
    ],
)
def test_names_are_checked(variables, shocks, error, what):
    with pytest.raises(error, match=what):
        model(equations, variables, shocks)


def test_equations_must_be_a_function():
    with pytest.raises(TypeError, match="function"):
        model([1, 2])


@pytest.mark.parametrize("what", ["guess", "steady_state"])
def test_values_are_checked(what):
    with pytest.raises(ValueError, match=f"{what} there is no 'xx'. Did you mean 'x'"):
        model(equations, **{what: {"xx": 1.0}})
    for wrong, error, text in (
        (lambda p: {"z": p}, ValueError, "no 'z'"),
        (lambda p: [p], TypeError, "dict from names to numbers"),
        (lambda p: {"x": jnp.ones(2)}, TypeError, r"'x'.*\(2,\)"),
    ):
        with pytest.raises(error, match=f"{what}.*{text}"):
            model(equations, **{what: wrong}).steady_state(1.0)


@pytest.mark.parametrize(
    ("residuals", "error", "what"),
    [
        (lambda now: [now.x], ValueError, r"1 equations \(0\) for 2 variables \(x, y\)"),
        (lambda now: {"a": now.x, "b": now.y, "c": now.x}, ValueError, r"3 equations \(a, b, c\)"),
        (lambda now: {"a": now.x, "b": jnp.ones(2)}, TypeError, r"'b' must be one number.*\(2,\)"),
        (lambda now: [now.x, None], TypeError, "equation '1' must be a real number.*None"),
        (lambda now: [now.x, now.y > 0], TypeError, "equation '1'.*bool"),
        (lambda now: [now.x, now.y + 1j], TypeError, "equation '1'.*complex"),
        (lambda now: now.x, TypeError, "sequence of residuals"),
        (lambda now: [now.xx, now.y], AttributeError, "no 'xx'. Did you mean 'x'"),
        (lambda now: [now["q"], now.y], KeyError, "no 'q'"),
    ],
)
def test_residuals_are_checked(residuals, error, what):
    with pytest.raises(error, match=what):
        model(lambda lag, now, lead, shock, p: residuals(now)).steady_state(())


def test_shocks_are_named():
    with pytest.raises(AttributeError, match=r"no 'eps'\. The names are e"):
        model(lambda lag, now, lead, shock, p: [now.x, shock.eps]).steady_state(())


def test_sequences_and_arrays_of_residuals_are_one():
    parts = [
        model(lambda *a, pack=pack: pack(equations(*a))).jacobians((), {"x": 0.0, "y": 0.0})
        for pack in (list, jnp.stack, lambda r: dict(zip("ab", r, strict=True)))
    ]
    for other in parts[1:]:
        assert jax.tree.all(jax.tree.map(np.array_equal, parts[0], other))
    a, b, c, d = parts[0].lead, parts[0].now, parts[0].lag, parts[0].shock
    assert np.array_equal(a, [[0, 0], [0, -0.5]])
    assert np.array_equal(b, [[1, 0], [-1, 1]])
    assert np.array_equal(c, [[-0.5, 0], [0, 0]])
    assert np.array_equal(d, [[-1], [0]])


def test_occurrences_leave_out_what_no_residual_needs():
    def idle(lag, now, lead, _, p):
        _ = jnp.exp(lag.y) + jax.jit(jnp.sin)(lead.x)
        return now.x - 0.5 * lag.x + 0 * p, now.y - jax.jit(jnp.sin)(lead.y) - now.x

    at = model(idle).jacobians(1.0, {"x": 0.0, "y": 0.0})
    assert at.occurrences == ((1,), (0, 1), (0,), ())
    assert at.states == (0,)
    assert np.array_equal(at.lead, [[0, 0], [0, -1]])


@pytest.mark.slow
def test_equation_that_is_not_finite_is_told_with_what_it_reads():
    m = Model(rbc.equations, rbc.VARIABLES, rbc.SHOCKS, guess={"k": 0.0, "q": 2.0})
    with pytest.raises(RuntimeError, match="at the guess equation 'Euler' is -inf, where k = 0, z"):
        m.steady_state(P)
    wrong = rbc.steady_state(P) | {"k": -1.0}
    m = Model(rbc.equations, rbc.VARIABLES, rbc.SHOCKS, steady_state=wrong)
    with pytest.raises(
        RuntimeError, match="the steady state given equation 'Euler' is nan, where k = -1"
    ):
        m.first_order(P)
