"""The law of motion by generalised Schur vectors, in SciPy.

Klein (2000), "Using the generalized Schur form to solve a multivariate linear rational expectations
model", Journal of Economic Dynamics and Control 24, 1405–1423.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg


class Law(NamedTuple):
    """w = X w₋ + R ε, the number of roots inside the unit circle, and what that says."""

    transition: np.ndarray
    impact: np.ndarray
    stable: int
    verdict: str


def solve(a, b, c, d):
    """The stable X with A X² + B X + C = 0, and R = −(A X + B)⁻¹ D.

    v = (w₋, w) obeys M v₊ = L v with M = [[I, 0], [0, A]] and L = [[0, I], [−C, −B]]. The n
    deflating vectors of stable roots, [Z₁; Z₂], give w = Z₂ Z₁⁻¹ w₋. One stable solution asks for
    exactly as many stable roots as there are variables, n, and a regular Z₁. The matrices are NaN
    otherwise.
    """
    n = len(a)
    zero, one = np.zeros((n, n)), np.eye(n)
    left, right = np.block([[zero, one], [-c, -b]]), np.block([[one, zero], [zero, a]])
    *_, alpha, beta, _, z = scipy.linalg.ordqz(left, right, sort="iuc", output="complex")
    stable = int(np.sum(np.abs(alpha) < np.abs(beta)))
    nothing = np.full((n, n), np.nan), np.full(d.shape, np.nan)
    if stable != n:
        return Law(*nothing, stable, "indeterminate" if stable > n else "explosive")
    z1, z2 = z[:n, :n], z[n:, :n]
    if np.linalg.cond(z1) > 1e14:
        return Law(*nothing, stable, "failed")
    transition = np.linalg.solve(z1.T, z2.T).T.real
    return Law(transition, -np.linalg.solve(a @ transition + b, d), stable, "determinate")
