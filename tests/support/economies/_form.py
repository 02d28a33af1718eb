"""From a law of motion to the matrices of perturbation theory."""

from typing import NamedTuple

import numpy as np


class PerturbationForm(NamedTuple):
    """y_t = g_x x_t and x_{t+1} = h_x x_t, without the shocks of t + 1."""

    g_x: np.ndarray
    h_x: np.ndarray


def perturbation_form(transition, impact, names, *, endogenous, exogenous, controls):
    """g_x and h_x in the states x_t = (k_{t−1}, z_t), k being `endogenous` and z `exogenous`.

    With z_t = P z_{t−1} + N ε_t, N regular, every variable is
    v_t = G_k k_{t−1} + G_z z_t = G_k k_{t−1} + G_z P z_{t−1} + G_z N ε_t.
    So G_k is a block of the transition X, and G_z = R N⁻¹ where R is the impact; X_z = G_z P says
    the same again, which is checked. g_x has the rows of G for y; h_x has those for k, since
    x_{t+1} holds k_t, and P for z.
    """
    at = lambda wanted: [list(names).index(name) for name in wanted]
    k, z, y = at(endogenous), at(exogenous), at(controls)
    transition, impact = np.asarray(transition), np.asarray(impact)
    persistence = transition[np.ix_(z, z)]
    by_z = impact @ np.linalg.inv(impact[z])
    np.testing.assert_allclose(transition[:, z], by_z @ persistence, rtol=1e-9, atol=1e-12)
    policy = np.concatenate([transition[:, k], by_z], 1)
    law_of_z = np.concatenate([np.zeros((len(z), len(k))), persistence], 1)
    return PerturbationForm(policy[y], np.concatenate([policy[k], law_of_z]))
