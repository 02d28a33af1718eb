"""What is computed from the law of motion: covariance, responses, paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from dini.economics import Model, Verdict
from dini.testing import check_rule
from tests.support.compare import all_nan, assert_close
from tests.support.economies import new_keynesian, rbc
from tests.support.models import law, model

P = rbc.Params(*map(jnp.asarray, rbc.Params()))
X, R = map(np.asarray, rbc.law(P))


def test_covariance_solves_its_equation():
    assert_close(law(rbc).covariance, scipy.linalg.solve_discrete_lyapunov(X, R @ R.T), rtol=1e-10)
    assert np.array_equal(law(rbc).covariance, law(rbc).covariance.T)


@pytest.mark.slow
def test_covariance_of_a_process_alone():
    v = law(new_keynesian).covariance
    rn, pi = (new_keynesian.VARIABLES.index(name) for name in ("rn", "pi"))
    assert_close(v[rn, rn], 1 / (1 - 0.5**2), rtol=1e-13)
    a_rn, a_v = law(new_keynesian).impact[pi]
    assert_close(v[pi, pi], (a_rn**2 + a_v**2) / (1 - 0.5**2), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.9999])
def test_covariance_has_the_derivatives_of_its_equation(rho):
    covariance = lambda p: model(rbc).first_order(p, throw=False).covariance
    p = P._replace(rho=jnp.asarray(rho))

    def exact(p):
        x, r = rbc.law(p)
        full = jnp.linalg.solve(jnp.eye(16) - jnp.kron(x, x), (r @ r.T).reshape(-1))
        return full.reshape(4, 4)

    for derivative in (jax.jacfwd, jax.jacrev):
        assert_close(derivative(covariance)(p), jax.jacfwd(exact)(p), rtol=1e-8)


def test_response_is_the_powers_of_the_transition():
    response = law(rbc).impulse_response("e", 6)
    expected = np.stack([np.linalg.matrix_power(X, t) @ R[:, 0] for t in range(6)])
    assert_close(response, expected, rtol=1e-12)
    assert law(rbc).impulse_response("e", 0).shape == (0, 4)
    second = law(new_keynesian).impulse_response("e_v", 2)
    assert_close(second[0], law(new_keynesian).impact[:, 1], rtol=1e-15)
    with pytest.raises(KeyError, match=r"no 'ev'\. Did you mean 'e_v'"):
        law(new_keynesian).impulse_response("ev", 3)


def test_path_follows_the_law_from_rest():
    shocks = np.random.default_rng(0).normal(size=(7, 1))
    path, w = [], np.zeros(4)
    for e in shocks:
        w = X @ w + R @ e
        path.append(w)
    assert_close(law(rbc).simulate(shocks), np.stack(path), rtol=1e-12)
    in_levels = law(rbc).simulate(shocks, levels=True)
    assert_close(in_levels, np.stack(path) + law(rbc).steady_state.vector, rtol=1e-12)
    unit = np.zeros((6, 1))
    unit[0] = 1
    assert_close(law(rbc).simulate(unit), law(rbc).impulse_response("e", 6), rtol=1e-13)
    for wrong in (shocks[:, 0], shocks.T):
        with pytest.raises(ValueError, match=r"shape \(periods, 1\), in the order e"):
            law(rbc).simulate(wrong)


def test_radii_are_those_of_both_spectra():
    of_x, of_s = law(rbc).radii
    a, b = law(rbc).linearised.lead, law(rbc).linearised.now
    assert_close(of_x, np.max(np.abs(np.linalg.eigvals(X))), rtol=1e-12)
    expected = np.linalg.eigvals(np.linalg.solve(a @ X + b, a))
    assert_close(of_s, np.max(np.abs(expected)), rtol=1e-11)


def test_states_are_the_variables_with_a_lag():
    assert [law(rbc).variables[i] for i in law(rbc).states] == ["k", "z"]
    assert np.array_equal(law(rbc).transition[:, 2:], np.zeros((4, 2)))
    assert law(rbc).shocks == ("e",)
    assert "4 variables, 2 states, 1 shock" in repr(law(rbc))


def test_model_without_states_moves_with_its_shocks_alone():
    m = Model(lambda lag, now, lead, shock, p: [now.x - p * lead.x - shock.e], "x", "e")
    found = m.first_order(0.5)
    assert found.result == Verdict.determinate
    assert found.states == ()
    assert_close((found.transition, found.impact), (np.zeros((1, 1)), np.ones((1, 1))))
    assert_close(found.covariance, np.ones((1, 1)))
    assert_close(found.impulse_response("e", 2), np.array([[1.0], [0.0]]))
    assert m.first_order(1.5, throw=False).result == Verdict.indeterminate


@pytest.mark.slow
def test_model_without_shocks_and_without_leads():
    m = Model(lambda lag, now, lead, shock, p: [now.x - p * lag.x], "x", "")
    found = m.first_order(0.5)
    assert found.impact.shape == (1, 0)
    assert_close(found.transition, np.array([[0.5]]))
    assert_close(found.covariance, np.zeros((1, 1)))
    assert found.simulate(np.zeros((3, 0))).shape == (3, 1)


@pytest.mark.slow
def test_rule_of_the_covariance():
    of_rho = lambda rho: model(rbc).first_order(P._replace(rho=rho), throw=False).covariance
    check_rule(of_rho, jnp.asarray(0.9999), order=1, transforms=("jit",))


@pytest.mark.slow
def test_laws_of_a_batch():
    rho = jnp.array([0.2, 1.01, 0.9])
    laws = jax.jit(jax.vmap(lambda rho: model(rbc).first_order(P._replace(rho=rho), throw=False)))(
        rho
    )
    covariances = jax.vmap(lambda law: law.covariance)(laws)
    responses = jax.vmap(lambda law: law.impulse_response("e", 3))(laws)
    assert_close(covariances[0], law(rbc).covariance, rtol=1e-11)
    assert_close(responses[0], law(rbc).impulse_response("e", 3), rtol=1e-11)
    assert all_nan((covariances[1], responses[1]))
    assert not np.any(np.isnan(covariances[2]))
