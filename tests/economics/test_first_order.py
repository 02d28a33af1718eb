"""The law of motion of first order, its derivatives, and how it compiles."""

import collections
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dini.economics import Model
from tests.support.compare import all_nan, assert_close
from tests.support.economies import brock_mirman, new_keynesian, rbc
from tests.support.marks import case
from tests.support.models import model

_compiled = collections.Counter()
jax.monitoring.register_event_duration_secs_listener(
    lambda event, _, **kwargs: _compiled.update([event])
)


def arrays(p):
    return type(p)(*map(jnp.asarray, p))


def law(economy, p, throw=False):
    found = model(economy).first_order(p, throw=throw)
    return found.transition, found.impact


@pytest.mark.parametrize(
    ("economy", "rho"),
    [
        case(economy, rho, quick=(economy, rho) == (rbc, 0.9999))
        for economy in (brock_mirman, rbc, new_keynesian)
        for rho in (0.9999,)
    ],
)
def test_directional_derivatives_in_both_modes_are_those_in_closed_form(economy, rho):
    p = economy.Params()
    p = arrays(p._replace(**{name: rho for name in p._fields if name.startswith("rho")}))
    along = jax.tree.map(lambda x: 0.3 * x, p)
    weights = jax.tree.map(lambda m: jnp.cos(jnp.arange(m.size)).reshape(m.shape), economy.law(p))

    def look(law):
        weighted = lambda p: sum(jnp.vdot(w, m) for w, m in zip(weights, law(p), strict=True))
        return (*jax.jvp(law, (p,), (along,)), jax.grad(weighted)(p))

    assert_close(
        jax.jit(look, static_argnums=0)(functools.partial(law, economy)), look(economy.law), 1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize("economy", [new_keynesian])
def test_second_derivatives_are_those_in_closed_form(economy):
    p = arrays(economy.Params())
    ours, expected = (
        jax.jit(jax.hessian(f))(p) for f in (functools.partial(law, economy), economy.law)
    )
    assert_close(ours, expected, rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"phi_pi": 0.8}])
def test_derivatives_are_nan_where_there_is_no_law(change):
    """Also those in what the law would not depend on."""
    p = arrays(new_keynesian.Params(**change))

    @jax.jit
    def look(p):
        impact = lambda p: law(new_keynesian, p)[1]
        return impact(p), jax.jacfwd(impact)(p), jax.jacrev(impact)(p)

    assert all_nan(look(p))


@pytest.mark.slow
def test_lanes_of_a_batch_are_alone():
    phi_pi = jnp.array([1.5, 0.8, 2.0])
    p = new_keynesian.Params()
    y = lambda x: law(new_keynesian, p._replace(phi_pi=x))[1][0, 0]
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(y)))(phi_pi)
    exact = lambda x: new_keynesian.law(p._replace(phi_pi=x))[1][0, 0]
    for i in (0, 2):
        assert_close((value[i], slope[i]), jax.value_and_grad(exact)(phi_pi[i]), rtol=1e-12)
    assert np.isnan(value[1])
    assert np.isnan(slope[1])


@pytest.mark.slow
def test_more_shocks_than_variables():
    m = Model(
        lambda lag, now, lead, shock, p: [now.x - p * lag.x - shock.a - 2 * shock.b - shock.c**3],
        ["x"],
        ["a", "b", "c"],
        steady_state={"x": 0.0},
    )
    law = m.first_order(0.5)
    np.testing.assert_allclose(law.transition, [[0.5]])
    np.testing.assert_allclose(law.impact, [[1, 2, 0]])
    np.testing.assert_allclose(law.covariance, [[5 / 0.75]], rtol=1e-14)


def test_steady_state_that_no_lane_moves_leaves_each_its_derivative():
    """x = ρ x₋ + σ ε rests at 0 whatever ρ is: Var x = σ²/(1 − ρ²)."""
    m = Model(
        lambda lag, now, lead, shock, p: [now.x - p["rho"] * lag.x - p["sigma"] * shock.e],
        ["x"],
        ["e"],
        steady_state={"x": 0.0},
    )
    rho = jnp.array([0.5, 0.7, 0.9])
    variance = lambda rho: m.first_order({"rho": rho, "sigma": 2.0}, throw=False).covariance[0, 0]
    total = lambda rho: jax.vmap(variance)(rho).sum()
    np.testing.assert_allclose(jax.grad(total)(rho), 8 * rho / (1 - rho**2) ** 2, rtol=1e-12)
    np.testing.assert_allclose(
        jax.jvp(total, (rho,), (rho,))[1], jnp.sum(8 * rho**2 / (1 - rho**2) ** 2), rtol=1e-12
    )


def test_parameters_are_any_pytree():
    """Numbers under names, in arrays, with what is no number among them."""

    def equations(lag, now, _, shock, p):
        rho, scale = p["rho"], p["scales"][1]
        push = scale * shock.e if p["kind"] == "up" else -scale * shock.e
        return [now.x - rho[0] * lag.x - push * p["power"] ** 2]

    m = Model(equations, "x", "e")
    p = {"rho": jnp.array([0.7]), "scales": (1, 0.2), "kind": "up", "power": 3}
    assert_close(m.first_order(p).impact, np.array([[1.8]]))
    assert_close(m.first_order(p | {"kind": "down"}).impact, np.array([[-1.8]]))
    assert_close(m.first_order(p | {"power": 1}).impact, np.array([[0.2]]))


@pytest.mark.slow
def test_single_precision_stays_single():
    single = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), rbc.Params())
    found = law(rbc, single)
    assert {x.dtype for x in found} == {jnp.dtype("float32")}
    assert_close(found, rbc.law(rbc.Params()), rtol=1e-4)


@pytest.mark.slow
def test_new_numbers_compile_nothing():
    m = model(new_keynesian)
    y = lambda phi_pi: m.first_order(new_keynesian.Params(phi_pi=phi_pi)).impact[0, 0]
    all_of = lambda x: (y(x), jax.grad(y)(x), m.first_order(new_keynesian.Params(sigma=x)))
    jax.block_until_ready(all_of(1.5))
    event = "/jax/core/compile/backend_compile_duration"
    before = _compiled[event]
    jax.block_until_ready(all_of(1.6))
    assert before > 0
    assert _compiled[event] == before


@pytest.mark.slow
def test_second_hessian_compiles_nothing():
    y = lambda x: law(new_keynesian, new_keynesian.Params(phi_pi=x))[1][0, 0]
    jax.block_until_ready(jax.hessian(y)(1.5))
    before = _compiled["/jax/core/compile/backend_compile_duration"]
    jax.block_until_ready(jax.hessian(y)(1.6))
    assert _compiled["/jax/core/compile/backend_compile_duration"] == before


@pytest.mark.slow
def test_program_without_errors_has_no_callback():
    p = arrays(rbc.Params())
    text = lambda throw: jax.jit(lambda p: law(rbc, p, throw)).lower(p).as_text()
    assert "callback" not in text(False)
    assert "callback" in text(True)
