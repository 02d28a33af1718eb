"""The law of second order: beside dense Kronecker products, closed forms, and paths by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dini
from dini.economics import Verdict
from tests.support import second_order as oracle
from tests.support.economies import asset_pricing, brock_mirman, rbc, small_open_economy as soe
from tests.support.models import model

TERMS = ("transition", "impact", "state_state", "state_shock", "shock_shock", "risk")


@pytest.mark.parametrize(
    "economy", [asset_pricing, *(pytest.param(e, marks=pytest.mark.slow) for e in (soe,))]
)
def test_all_terms_agree_with_dense_products(economy):
    law = model(economy).second_order(economy.Params())
    expected = oracle.solve(economy, economy.Params())
    for name in TERMS:
        value = getattr(expected, name)
        atol = 1e-11 * np.max(np.abs(value))
        np.testing.assert_allclose(getattr(law, name), value, rtol=1e-9, atol=atol)


@pytest.mark.slow
def test_brock_and_mirman_is_linear_in_logs():
    law = model(brock_mirman).second_order(brock_mirman.Params())
    for name in TERMS[2:]:
        np.testing.assert_allclose(getattr(law, name), 0, atol=1e-12)


@pytest.mark.slow
def test_derivatives_are_those_of_differences():
    p = asset_pricing.Params()

    def terms(rho, sigma):
        law = model(asset_pricing).second_order(p._replace(rho=rho, sigma=sigma))
        return law.state_state, law.shock_shock, law.risk

    point, along = (p.rho, p.sigma), (0.3, 0.01)
    _, tangent = jax.jvp(terms, point, along)
    _, expected = dini.numeric.finite_difference_jvp(terms, point, along, method="ridders")
    for got, want in zip(tangent, expected, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-9 * np.max(np.abs(want)))
    weights = jax.tree.map(lambda x: jnp.cos(jnp.arange(x.size)).reshape(x.shape), tangent)
    _, pullback = jax.vjp(terms, *point)
    both = [sum(jnp.sum(u * t) for u, t in zip(weights, tangent, strict=True))]
    both.append(sum(b * t for b, t in zip(pullback(weights), along, strict=True)))
    np.testing.assert_allclose(*both, rtol=1e-10)


def test_paths_are_pruned():
    law = model(rbc).second_order(rbc.Params())
    shocks = np.random.default_rng(0).normal(size=(6, 1))
    first, second, path = np.zeros(4), np.zeros(4), []
    for e in shocks:
        quadratic = np.einsum("nij,i,j->n", law.state_state, first, first) / 2
        quadratic += np.einsum("nij,i,j->n", law.state_shock, first, e)
        quadratic += np.einsum("nij,i,j->n", law.shock_shock, e, e) / 2
        second = law.transition @ second + quadratic + law.risk / 2
        first = law.transition @ first + law.impact @ e
        path.append(first + second)
    np.testing.assert_allclose(law.simulate(shocks), path, rtol=1e-12, atol=1e-15)
    steady = np.asarray(law.steady_state.vector)
    np.testing.assert_allclose(law.simulate(shocks, levels=True), path + steady, rtol=1e-12)
    one, none = np.zeros((6, 1)), np.zeros((6, 1))
    one[0] = 1
    moved = np.asarray(law.simulate(one)) - np.asarray(law.simulate(none))
    np.testing.assert_allclose(law.impulse_response("e", 6), moved, rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match=r"\(periods, 1\)"):
        law.simulate(np.zeros((3, 2)))


@pytest.mark.slow
def test_mean_is_that_of_long_paths():
    law = model(rbc).second_order(rbc.Params())
    shocks = np.random.default_rng(1).normal(size=(200_000, 1))
    path = np.asarray(law.simulate(np.concatenate([shocks, -shocks])))[1000:]
    parts = np.mean(path.reshape(19, -1, 4), axis=1)
    error = np.std(parts, axis=0) / np.sqrt(len(parts))
    assert np.all(np.abs(np.mean(path, axis=0) - law.mean) <= 4 * error + 1e-12)


def test_what_has_no_law_of_first_order_has_none_of_second():
    p = asset_pricing.Params()._replace(rho=1.01)
    with pytest.raises(RuntimeError, match="explosive"):
        model(asset_pricing).second_order(p)
    law = model(asset_pricing).second_order(p, throw=False)
    assert law.result == Verdict.explosive
    assert np.all(np.isnan(law.risk))
