"""The second order of an economy's solution, by dense Kronecker products, in NumPy.

Schmitt-Grohé and Uribe (2004), "Solving dynamic general equilibrium models using a second-order
approximation to the policy function", Journal of Economic Dynamics and Control 28, 755–775.
"""

from typing import NamedTuple

import numpy as np

from tests.support import linearise, qz


class SecondOrder(NamedTuple):
    """Of the solution as the contract has it:

    w = X w₋ + R ε + ½ state_state[w₋, w₋] + state_shock[w₋, ε] + ½ shock_shock[ε, ε] + ½ risk.
    """

    transition: np.ndarray
    impact: np.ndarray
    state_state: np.ndarray
    state_shock: np.ndarray
    shock_shock: np.ndarray
    risk: np.ndarray


def solve(economy, p, in_levels=False):
    """All terms, at the parameters p.

    The solution g(w₋, ε, s), s the scale of future shocks, makes
    E f(w₋, g(u), g(g(u), s ε₊), ε) zero in u = (w₋, ε) and s. With z the four arguments of f and
    J = ∂z/∂u, its second derivative in u is

        f_zz[J, J] + A (g_ww[G, G] + X g_uu) + B g_uu = 0,   G = [X, R].

    The columns u = w₋ are a linear system for g_ww; those with ε follow from A X + B. Twice in s,

        Σₖ f₊₊[Rₖ, Rₖ] + A Σₖ g_εε,ₖₖ + (A X + A + B) g_ss = 0.
    """
    a, b, c, d = linearise.jacobians(economy, p, in_levels)
    curvature = linearise.hessian(economy, p, in_levels)
    x, r, *_, verdict = qz.solve(a, b, c, d)
    assert verdict == "determinate", verdict
    (n, k), states = d.shape, np.flatnonzero(np.any(c != 0, axis=0))
    others = np.setdiff1d(np.arange(n), states)
    assert not np.any(curvature[:, others]), "nonlinear in a lag that the linear model has not"
    ns = len(states)

    policy = np.concatenate([x[:, states], r], 1)  # G, with the columns that are not zero
    start = np.zeros((n, ns + k))
    start[states, :ns] = np.eye(ns)
    shocks = np.concatenate([np.zeros((k, ns)), np.eye(k)], 1)
    arguments = np.concatenate([start, policy, x @ policy, shocks])
    rhs = -np.einsum("ezy,zu,yv->euv", curvature, arguments, arguments)

    inner, solved = policy[states], a @ x + b
    ww = np.kron(a, np.kron(inner[:, :ns].T, inner[:, :ns].T)) + np.kron(solved, np.eye(ns**2))
    g_ww = np.linalg.solve(ww, rhs[:, :ns, :ns].reshape(-1)).reshape(n, ns, ns)
    ahead = np.einsum("ij,jab,au,bv->iuv", a, g_ww, inner, inner)
    g_uu = np.linalg.solve(solved, (rhs - ahead).reshape(n, -1)).reshape(rhs.shape)
    g_ee = g_uu[:, ns:, ns:]

    lead = slice(2 * n, 3 * n)
    spread = np.einsum("ezy,zk,yk->e", curvature[:, lead, lead], r, r)
    risk = -np.linalg.solve(solved + a, spread + a @ np.einsum("ikk->i", g_ee))

    state_state, state_shock = np.zeros((n, n, n)), np.zeros((n, n, k))
    state_state[np.ix_(range(n), states, states)] = g_ww
    state_shock[:, states] = g_uu[:, :ns, ns:]
    return SecondOrder(x, r, state_state, state_shock, g_ee, risk)
