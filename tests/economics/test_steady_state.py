"""Steady states: found, given, followed, aimed at; and those that there are not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini.economics import Model, Verdict
from tests.support.compare import all_nan, assert_close
from tests.support.economies import new_keynesian, rbc
from tests.support.outcome import lane

P = rbc.Params(*map(jnp.asarray, rbc.Params()))
K = 47.39025414828825


def closed(p):
    known = rbc.steady_state(p)
    return jnp.stack([jnp.asarray(known[name], jnp.result_type(p.alpha)) for name in rbc.VARIABLES])


@functools.cache
def model(economy=rbc, **options):
    return Model(economy.equations, economy.VARIABLES, economy.SHOCKS, **options)


def given(values):
    return Model(rbc.equations, rbc.VARIABLES, rbc.SHOCKS, steady_state=values)


searched = model()
stated = model(steady_state=rbc.steady_state)
partly = model(steady_state=lambda p: {"k": rbc.steady_state(p)["k"]})
HOW = {"searched": searched, "stated": stated, "partly": partly}
by_how = pytest.mark.parametrize("m", HOW.values(), ids=HOW)


@pytest.mark.slow
@by_how
def test_steady_state_and_its_jacobians_are_those_in_closed_form(m):
    state = lambda p: m.steady_state(p).vector
    assert_close(state(rbc.Params()), closed(P), rtol=1e-13)
    value, slopes = jax.jit(lambda p: (state(p), jax.jacfwd(state)(p)))(P)
    assert_close(value, closed(P), rtol=1e-13)
    assert_close(slopes, jax.jacfwd(closed)(P), rtol=1e-11)
    assert_close(jax.jacrev(state)(P), jax.jacfwd(closed)(P), rtol=1e-11)


@pytest.mark.slow
@by_how
def test_second_derivatives_are_those_in_closed_form(m):
    hessian = jax.jit(jax.hessian(lambda p: m.steady_state(p).vector))(P)
    assert_close(hessian, jax.hessian(closed)(P), rtol=1e-9)


def test_steady_state_is_found_without_a_guess():
    assert_close(searched.steady_state(rbc.Params()).vector, closed(P), rtol=1e-13)


def test_numbers_given_have_the_derivatives_of_the_equations():
    """And not those of constants."""
    m = given({name: float(x) for name, x in zip(rbc.VARIABLES, closed(P), strict=True)})
    slope = jax.grad(lambda beta: m.steady_state(P._replace(beta=beta)).k)(P.beta)
    assert_close(slope, jax.grad(lambda beta: closed(P._replace(beta=beta))[0])(P.beta), 1e-11)


@pytest.mark.slow
def test_guess_may_follow_the_parameters():
    m = model(guess=lambda p: {"k": 0.5 * K, "c": 2 * p.alpha, "q": 3.0})
    assert_close(m.steady_state(P).vector, closed(P), rtol=1e-12)


# --- What is none ---------------------------------------------------------------------------------


def test_values_that_are_none_are_refused():
    near = rbc.steady_state(P) | {"c": 5.9}
    with pytest.raises(RuntimeError, match=r"'resources' leaves -0\.0363, where k = 47\.39"):
        given(near).steady_state(P)
    assert all_nan(given(near).steady_state(P, throw=False).vector)


@pytest.mark.slow
def test_values_that_the_others_do_not_go_with_are_refused():
    with pytest.raises(RuntimeError, match=r"has others: k = 47\.3903, not 47\. "):
        given({"k": 47.0}).steady_state(P)
    assert all_nan(given({"k": 47.0}).steady_state(P, throw=False).vector)
    with pytest.raises(RuntimeError, match="has others"):
        given({"k": 47.0}).first_order(P)


@pytest.mark.slow
def test_double_root_is_no_steady_state():
    m = Model(lambda lag, now, lead, shock, p: [(now.x - 1) ** 2 + p * lag.x + shock.e], "x", "e")
    for given in ({}, {"steady_state": {"x": 1.0 + 1e-9}}):
        law = Model(m.equations.fn, "x", "e", **given).first_order(0.0, throw=False)
        assert law.result == Verdict.failed
        assert all_nan((law.transition, law.steady_state.vector))


def test_values_good_to_half_the_digits_pass():
    near = {name: (1 + 1e-10) * x for name, x in rbc.steady_state(P).items()}
    assert_close(given(near).steady_state(P).vector, closed(P), rtol=1e-9)


def test_steady_state_that_there_is_not_is_refused():
    p = rbc.Params(alpha=-0.5)
    with pytest.raises(RuntimeError, match="no steady state was found: where the search ended"):
        searched.steady_state(p)
    assert all_nan(searched.steady_state(p, throw=False).vector)
    with pytest.raises(RuntimeError, match="Euler"):
        stated.steady_state(p)


def test_unit_root_has_no_isolated_steady_state():
    p = rbc.Params(rho=1.0)
    for m in (searched, stated):
        with pytest.raises(RuntimeError, match="not isolated, as the Jacobian"):
            m.steady_state(p)
        assert all_nan(m.steady_state(p, throw=False).vector)


@pytest.mark.slow
@pytest.mark.parametrize("m", [searched])
def test_failure_is_loud_in_compiled_code_and_in_derivatives(m):
    p = P._replace(alpha=jnp.asarray(-0.5))
    k = lambda p: m.steady_state(p).k
    batch = jax.tree.map(lambda *x: jnp.stack(x), p, P)
    for loud, at in ((jax.jit(k), p), (jax.grad(k), p), (jax.vmap(k), batch)):
        with pytest.raises(Exception, match="steady state"):
            jax.block_until_ready(loud(at))


@pytest.mark.slow
@pytest.mark.parametrize("m", [searched])
def test_failed_lane_is_nan_with_its_derivatives_and_others_are_right(m):
    lanes = jax.tree.map(lambda x: jnp.full(3, x), P)._replace(alpha=jnp.array([0.5, -0.5, 0.4]))
    state = lambda p: m.steady_state(p, throw=False).vector
    both = jax.jit(jax.vmap(lambda p: (state(p), jax.jacfwd(state)(p), jax.jacrev(state)(p))))
    value, forward, reverse = both(lanes)
    for i in (0, 2):
        p = lane(lanes, i)
        assert_close(value[i], closed(p), rtol=1e-12)
        for found in (forward, reverse):
            assert_close(lane(found, i), jax.jacfwd(closed)(p), rtol=1e-9)
    for found in (value, forward, reverse):
        assert all_nan(lane(found, 1))


# --- Continuation and calibration -----------------------------------------------------------------


def waves(_lag, now, _lead, _shock, p):
    """At rest at (p², p) alone; far from there |F| has a minimum in every wave."""
    u, v = now.x - p * p, now.y - p
    return u + 0.9 * jnp.sin(3 * u) + 0.1 * v, v + 0.9 * jnp.sin(3 * v) - 0.1 * u


@pytest.mark.slow
def test_solution_is_followed_from_a_solved_calibration():
    m = Model(waves, "x y", "e", guess={"x": 0.1, "y": -0.1})
    far = m.steady_state(6.0, throw=False).vector
    assert not np.allclose(far, [36.0, 6.0])
    followed = m.steady_state(6.0, start=(0.0,))
    assert_close(followed.vector, np.array([36.0, 6.0]), rtol=1e-12)
    again = m.steady_state(6.0, start=(0.0, {"x": 0.0, "y": 0.0}))
    assert_close(again.vector, np.array([36.0, 6.0]), rtol=1e-12)
    slope = jax.jacrev(lambda p: m.steady_state(p, start=(0.0, followed)).vector)(6.0)
    assert_close(slope, np.array([12.0, 1.0]), rtol=1e-11)


def test_parameters_are_found_for_which_a_variable_rests_where_wanted():
    def beta(k, alpha):
        p, state = searched.calibrate(P._replace(alpha=alpha), {"k": k}, "beta")
        assert state.names == tuple(rbc.VARIABLES)
        return p.beta, (p, state)

    by_hand = lambda k, alpha: 1 / (alpha * k ** (alpha - 1) + 1 - P.delta)
    value, (p, state) = beta(30.0, P.alpha)
    assert_close(value, by_hand(30.0, P.alpha), rtol=1e-12)
    assert p._replace(beta=0) == P._replace(beta=0)
    assert_close(state.vector, closed(p), rtol=1e-12)
    slopes = jax.grad(beta, (0, 1), has_aux=True)(30.0, P.alpha)[0]
    assert_close(slopes, jax.grad(by_hand, (0, 1))(30.0, P.alpha), rtol=1e-10)


@pytest.mark.slow
def test_free_parameters_are_named_or_pointed_at():
    as_dict = lambda lag, now, lead, shock, p: rbc.equations(lag, now, lead, shock, rbc.Params(**p))
    m = Model(as_dict, rbc.VARIABLES, rbc.SHOCKS)
    targets = {"k": 30.0, "q": 5.0}
    by_name, _ = m.calibrate(P._asdict(), targets, ["alpha", "beta"])
    pointed, _ = m.calibrate(P._asdict(), targets, lambda p: (p["alpha"], p["beta"]))
    assert_close(by_name, pointed, rtol=1e-12)
    assert_close(by_name["alpha"], np.log(5.0) / np.log(30.0), rtol=1e-12)
    assert_close(rbc.steady_state(rbc.Params(**by_name))["k"], 30.0, rtol=1e-11)


def test_calibration_is_checked():
    with pytest.raises(ValueError, match=r"no 'kk'\. Did you mean 'k'"):
        searched.calibrate(P, {"kk": 30.0}, "beta")
    with pytest.raises(ValueError, match="parameters have no 'betta'"):
        searched.calibrate(P, {"k": 30.0}, "betta")
    with pytest.raises(ValueError, match="2 parameters are free for 1 targets"):
        searched.calibrate(P, {"k": 30.0}, ["alpha", "beta"])
    with pytest.raises(RuntimeError, match="no parameters were found"):
        searched.calibrate(P, {"z": 1.0}, "sigma")
    p, state = searched.calibrate(P, {"z": 1.0}, "sigma", throw=False)
    assert np.isnan(p.sigma)
    assert all_nan(state.vector)


# --- Precision and compilation --------------------------------------------------------------------


def test_single_precision_stays_single():
    p = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), rbc.Params())
    for m in (searched, stated):
        found = m.steady_state(p).vector
        assert found.dtype == jnp.float32
        assert_close(found, closed(P), rtol=1e-5)


def test_linear_model_rests_at_zero():
    found = model(new_keynesian).steady_state(new_keynesian.Params())
    assert np.max(np.abs(found.vector)) < 1e-15
