"""The reference economies: published values, closed forms, and the law of motion by QZ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini.economics import Model, Verdict
from tests.support import linearise, qz
from tests.support.compare import all_nan, assert_close
from tests.support.economies import (
    asset_pricing,
    brock_mirman,
    new_keynesian,
    rbc,
    small_open_economy,
    smets_wouters,
)
from tests.support.models import model, name_of

QUICK = [brock_mirman, rbc, new_keynesian]
SLOW = [small_open_economy, smets_wouters, asset_pricing]
by_name = pytest.mark.parametrize(
    "economy",
    [*QUICK, *(pytest.param(economy, marks=pytest.mark.slow) for economy in SLOW)],
    ids=name_of,
)
BROCK_MIRMAN, RBC = brock_mirman.PUBLISHED, rbc.PUBLISHED


def searched(economy, **guess):
    """Without."""
    return Model(economy.equations, economy.VARIABLES, economy.SHOCKS, guess=guess)


def law(economy, p=None, **options):
    return model(economy).first_order(p or economy.Params(), **options)


# --- Steady states --------------------------------------------------------------------------------


def test_brock_mirman_rests_where_published():
    for name, value in BROCK_MIRMAN["logs"].items():
        assert abs(law(brock_mirman).steady_state[name] - value) < 1e-12


@pytest.mark.slow
def test_brock_mirman_in_levels_rests_where_published():
    levels = brock_mirman.VARIABLES, brock_mirman.SHOCKS, {"k": 0.2, "c": 0.4, "z": 0.0}
    found = Model(brock_mirman.in_levels, *levels).steady_state(brock_mirman.Params())
    for name, value in BROCK_MIRMAN["levels"].items():
        assert_close(found[name], value, rtol=1e-12)


@pytest.mark.slow
def test_rbc_rests_where_published_with_the_published_derivatives():
    m = searched(rbc, k=40.0, c=5.0, q=6.0, z=0.0)
    state = lambda p: m.steady_state(p).vector
    p = rbc.Params(*map(jnp.asarray, rbc.Params()))
    published = [RBC["steady_state"][name] for name in rbc.VARIABLES]
    assert_close(state(p), np.array(published), rtol=1e-12)
    slopes = np.array([RBC["derivatives"][name] for name in rbc.VARIABLES])
    for jacobian in (jax.jacfwd(state), jax.jacrev(state)):
        assert_close(jnp.stack(jacobian(p), 1), slopes, rtol=1e-11)


@by_name
def test_closed_form_is_the_steady_state(economy):
    found = law(economy).steady_state
    assert found.names == tuple(economy.VARIABLES)
    assert_close(found.vector, linearise.rest(economy, economy.Params()), rtol=1e-14)


@pytest.mark.slow
def test_small_open_economy_is_found_from_near():
    near = {"c": 0.1, "h": 0.0, "gdp": 0.4, "i": -1.0, "k": 1.0, "lam": 1.7, "r": -3.2, "d": 0.7}
    found = searched(small_open_economy, **near, a=0.0, rp=0.0, ca=0.0, tb=0.0)
    p = small_open_economy.Params()
    assert_close(found.steady_state(p).vector, linearise.rest(small_open_economy, p), rtol=1e-10)


@pytest.mark.slow
def test_trade_balance_in_logarithms_is_no_steady_state():
    trap = lambda p: small_open_economy.steady_state(p) | {"tb": -3.5143}
    names = small_open_economy.VARIABLES, small_open_economy.SHOCKS
    m = Model(small_open_economy.equations, *names, steady_state=trap)
    with pytest.raises(Exception, match="trade balance"):
        m.steady_state(small_open_economy.Params())


# --- The law of motion ----------------------------------------------------------------------------


@by_name
def test_law_is_that_of_qz(economy):
    p = economy.Params()
    found, expected = law(economy), qz.solve(*linearise.jacobians(economy, p))
    assert found.result == Verdict.determinate
    assert_close(found.transition, expected.transition, rtol=1e-11)
    assert_close(found.impact, expected.impact, rtol=1e-11)


@by_name
def test_law_leaves_no_residual(economy):
    a, b, c, d = linearise.jacobians(economy, economy.Params())
    found = law(economy)
    x, r = np.asarray(found.transition), np.asarray(found.impact)
    size = max(np.abs(m).max() for m in (a @ x @ x, b @ x, c))
    assert np.abs(a @ x @ x + b @ x + c).max() < 1e-12 * size
    assert np.abs((a @ x + b) @ r + d).max() < 1e-12 * size


@by_name
def test_linearised_equations_are_the_derivatives_of_them_all(economy):
    parts = law(economy).linearised
    found = parts.lead, parts.now, parts.lag, parts.shock
    for ours, expected in zip(found, linearise.jacobians(economy, economy.Params()), strict=True):
        assert_close(ours, expected, rtol=1e-13)


@pytest.mark.parametrize("economy", [brock_mirman, rbc, new_keynesian])
def test_law_in_closed_form(economy):
    found = law(economy)
    transition, impact = economy.law(economy.Params())
    assert_close(found.transition, transition, rtol=1e-12)
    assert_close(found.impact, impact, rtol=1e-12)


def test_published_policies():
    for economy in (brock_mirman, rbc):
        found = law(economy)
        g_x, h_x = economy.form(found.transition, found.impact)
        assert_close(g_x, np.array(economy.PUBLISHED["g_x"]), rtol=1e-12)
        assert_close(h_x, np.array(economy.PUBLISHED["h_x"]), rtol=1e-12)


@pytest.mark.slow
def test_small_open_economy_has_the_published_roots():
    found = law(small_open_economy)
    _, h_x = small_open_economy.form(found.transition, found.impact)
    radii = np.sort(np.abs(np.linalg.eigvals(h_x)))
    assert radii[-1] == pytest.approx(small_open_economy.LARGEST_ROOT, abs=5e-6)
    assert radii[0] < 1e-12
    assert_close(found.radii[0], radii[-1], rtol=1e-10)


@pytest.mark.slow
def test_smets_wouters_is_determinate_at_the_start_too():
    p = smets_wouters.START
    found, expected = law(smets_wouters, p), qz.solve(*linearise.jacobians(smets_wouters, p))
    assert found.result == Verdict.determinate
    assert_close(found.transition, expected.transition, rtol=1e-10)
    assert_close(found.impact, expected.impact, rtol=1e-10)


@pytest.mark.slow
def test_smets_wouters_states_are_the_variables_with_a_lag():
    found = law(smets_wouters)
    states = {smets_wouters.VARIABLES[i] for i in np.flatnonzero(np.any(found.transition, axis=0))}
    assert states == set(smets_wouters.STATES)


# --- Verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("phi_y", [0.0, 0.125, 2.0])
def test_taylor_principle_decides(phi_y):
    """κ (φ_π − 1) + (1 − β) φ_y > 0, to seven digits on both sides of the threshold."""
    p = new_keynesian.Params(phi_y=phi_y)
    threshold = new_keynesian.threshold(p)
    for apart in (1e-7, 1e-3, 0.1, 5.0):
        found = law(new_keynesian, p._replace(phi_pi=threshold + apart), throw=False)
        assert found.result == Verdict.determinate
        assert np.all(np.isfinite(found.impact))
    for apart in (1e-7, 1e-3, 0.1, threshold):
        found = law(new_keynesian, p._replace(phi_pi=threshold - apart), throw=False)
        assert found.result == Verdict.indeterminate
        assert all_nan(found.impact)


@pytest.mark.slow
def test_taylor_principle_decides_over_the_plane():
    random, p = np.random.default_rng(0), new_keynesian.Params()
    phi_pi, phi_y = random.uniform(0, 2, 200), random.uniform(0, 2, 200)

    @jax.jit
    @jax.vmap
    def found(phi_pi, phi_y):
        result = law(new_keynesian, p._replace(phi_pi=phi_pi, phi_y=phi_y), throw=False).result
        return result == Verdict.determinate, result == Verdict.indeterminate

    determinate, indeterminate = found(phi_pi, phi_y)
    above = phi_pi > new_keynesian.threshold(p._replace(phi_y=phi_y))
    assert 20 < above.sum() < 180
    assert np.array_equal(determinate, above)
    assert np.array_equal(indeterminate, ~above)


def test_rbc_with_explosive_technology_has_no_stable_law():
    found = law(rbc, rbc.Params(rho=1.01), throw=False)
    assert found.result == Verdict.explosive
    assert all_nan(found.transition)
    with pytest.raises(Exception, match="explosive"):
        law(rbc, rbc.Params(rho=1.01))


@pytest.mark.slow
def test_rbc_with_a_negative_share_has_no_steady_state():
    m = searched(rbc, k=40.0, c=5.0, q=6.0, z=0.0)
    p = rbc.Params(alpha=-0.5)
    assert all_nan(m.steady_state(p, throw=False).vector)
    assert m.first_order(p, throw=False).result == Verdict.failed
