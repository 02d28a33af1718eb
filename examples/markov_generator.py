"""How soon does a good borrower default? The rates behind a year of credit ratings.

The agencies publish how many firms went within a year from each rating to each other. A Markov
chain in continuous time tells it for any time: P(t) = exp(tQ), with rates q_ij ≥ 0 from i to j, and
rows of the generator Q that sum to zero. The logarithm of the table says whether there is such a
chain, the derivative of the exponential which chain is the most likely.
"""

# %% Set-up: double precision, because we assert to ten digits
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import dini

jax.config.update("jax_enable_x64", True)
expm, logm = jax.jit(dini.linalg.expm), jax.jit(dini.linalg.logm)

# %% Data: Standard & Poor's global corporate ratings in 2000, firms that lost their rating left out
# (European Securities and Markets Authority, 2016; `tm_abs` in the R packages ctmcd, markovchain)
RATINGS = ["AAA", "AA", "A", "BBB", "BB", "B", "CCC", "default"]
COUNTS = np.array([
    [208, 22, 2, 0, 0, 0, 0, 0],
    [5, 777, 67, 4, 0, 0, 0, 0],
    [0, 55, 1428, 135, 6, 1, 6, 4],
    [1, 6, 65, 1514, 66, 9, 3, 6],
    [0, 4, 1, 40, 886, 75, 9, 3],
    [0, 5, 3, 6, 48, 793, 47, 53],
    [0, 0, 0, 0, 1, 13, 77, 19],
], float)  # fmt: skip
FIRMS = COUNTS.sum(1, keepdims=True)
FREE = np.nonzero(~np.eye(8, dtype=bool)[:7])  # 49 rates; nothing returns from default
table = np.vstack([COUNTS / FIRMS, np.eye(8)[7]])

# %% Is it embeddable? With distinct positive eigenvalues it has one real logarithm (Culver 1966)
log = np.asarray(logm(table))
np.testing.assert_allclose(expm(log), table, atol=1e-12)
np.testing.assert_allclose(log.sum(1), 0, atol=1e-12)
eigenvalues = np.sort(np.linalg.eigvals(table))
assert not eigenvalues.imag.any()
assert eigenvalues.real[0] > 0
assert np.diff(eigenvalues.real).min() > 0.01

# Nor can p_ij be zero where a path leads from i to j (Israel, Rosenthal and Wei 2001), as from AAA
# by way of A to default.
assert table[0, 7] == 0
assert (table @ table)[0, 7] > 0
print(f"The logarithm has {(log[FREE] < 0).sum()} negative rates: no Markov chain has this table")


def generator(rates: jax.Array) -> jax.Array:
    """The matrix of these rates, whose rows sum to zero."""
    q = jnp.zeros((8, 8)).at[FREE].set(rates)
    return q - jnp.diag(q.sum(1))


# The diagonal adjustment makes negative rates zero. That of BBB is printed in the guide to ctmcd:
adjusted = generator(np.maximum(log[FREE], 0))
published = [6.568e-04, 0.003008, 0.043670, -0.1011, 4.438e-02, 4.164e-03, 0.001778]
np.testing.assert_allclose(adjusted[3, :7], published, rtol=5e-4)


# %% Maximum likelihood, in the rates: minimise −Σ N_ij log exp(Q)_ij subject to q ≥ 0
def log_likelihood(q, counts):
    return jnp.sum(counts * jnp.log(expm(q)[:7]))


def misfit(rates, counts):
    return -log_likelihood(generator(rates), counts)


# With G_ij the derivative of the log-likelihood in q_ij, the firms are expected to spend G_ii years
# in i, and to go q_ij G_ij times from i to j. The ratio is the next q_ij: the EM algorithm of Bladt
# and Sørensen (2005), with all expectations from one derivative of expm in reverse mode.
@jax.jit
def most_likely(rates, counts):
    def step(_, rates):
        g = jax.grad(log_likelihood)(generator(rates), counts)
        return rates * (g / jnp.diag(g)[:, None])[FREE]

    return jax.lax.fori_loop(0, 2000, step, rates)


start = np.full(49, 0.01)
rates = most_likely(start, COUNTS)
Q = generator(rates)

# %% Known answers: the conditions of Karush, Kuhn and Tucker, and a table made by a chain
slope = np.asarray(jax.jit(jax.grad(misfit))(rates, COUNTS))
inside = np.asarray(rates) > 1e-9
np.testing.assert_allclose(slope[inside], 0, atol=1e-6)
assert slope[~inside].min() > 1  # all rates of zero would be negative if they could

made_by = jnp.maximum(rates, 1e-3)
expected = FIRMS * expm(generator(made_by))[:7]
np.testing.assert_allclose(most_likely(start, expected), made_by, atol=1e-10)
np.testing.assert_allclose(logm(expm(generator(made_by))), generator(made_by), atol=1e-12)


def deviance(q: jax.Array) -> float:
    """Twice the log-likelihood ratio of the table itself and of the chain."""
    seen = COUNTS > 0
    ratio = np.where(seen, table[:7], 1) / np.where(seen, expm(q)[:7], 1)
    return float(2 * np.sum(COUNTS * np.log(ratio)))


assert deviance(Q) < deviance(adjusted)
print(f"The most likely chain has {inside.sum()} positive rates of {len(inside)}")
print(f"Its deviance is {deviance(Q):.3f}, that of the adjusted logarithm {deviance(adjusted):.3f}")


# %% How sure is that? The estimate's derivative in the counts, which are multinomial in each row
def covariance(p: np.ndarray) -> np.ndarray:
    """Of the 56 counts, for these probabilities."""
    spread = np.zeros((7, 8, 7, 8))
    for i, (n, row) in enumerate(zip(FIRMS[:, 0], np.asarray(p)[:7], strict=True)):
        spread[i, :, i] = n * (np.diag(row) - np.outer(row, row))
    return spread.reshape(56, 56)


# By the condition that it satisfies: where a rate is zero, and would be negative, it stays there.
condition = dini.conditions.projected_gradient(misfit, lambda r, _: jnp.maximum(r, 0))
by_counts = jax.jit(lambda r, n: dini.root_jacobian(condition, r, (n,), 0).reshape(49, 56))

# Known answer: where the counts are those expected, it gives the inverse of Fisher's information
jacobian, p = by_counts(made_by, expected), expected / FIRMS
dp = jax.jit(jax.jacfwd(lambda r: expm(generator(r))[:7]))(made_by)
information = np.einsum("ijk,ij,ijl->kl", dp, FIRMS / p, dp)
errors = jacobian @ covariance(p) @ jacobian.T
np.testing.assert_allclose(errors @ information, np.eye(49), atol=1e-8)

# %% Default within t years, and its error by the delta method, in logarithms
YEARS = np.arange(1, 41) / 4
log_default = lambda r: jnp.log(expm(YEARS[:, None, None] * generator(r))[:, :7, 7])
log_p, by_rates = jax.jit(lambda r: (log_default(r), jax.jacfwd(log_default)(r)))(rates)
slopes = by_rates @ by_counts(rates, COUNTS)
variance = np.einsum("tik,kl,til->ti", slopes, covariance(expm(Q)), slopes)
low, middle, high = (np.exp(log_p + z * np.sqrt(variance)) for z in (-1.96, 0, 1.96))
powers = np.array([np.linalg.matrix_power(table, t)[:7, 7] for t in range(1, 11)])

print("\n         default within a year, %     within five years, %")
print("rating      table      chain         table    chain      95 % interval")
for i, rating in enumerate(RATINGS[:7]):
    one, five = 100 * powers[0, i], 100 * powers[4, i]
    print(f"{rating:7}{one:10.3f}{100 * middle[3, i]:11.4f}{five:14.3f}", end="")
    print(f"{100 * middle[19, i]:9.3f}{100 * low[19, i]:9.3f} to {100 * high[19, i]:6.3f}")

# %% Picture
plt.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
figure, (heat, curves) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
shown = np.where(np.eye(8, dtype=bool) | (np.asarray(Q) < 1e-9), np.nan, 100 * np.asarray(Q))[:7]
heat.imshow(np.log10(shown), cmap="YlOrBr", aspect="auto", vmin=-2.8, vmax=2)
for (i, j), q in np.ndenumerate(shown):
    absent = "" if i == j else "−" if log[i, j] < 0 else "0"
    ink = "white" if q > 8 else "black" if q > 0 else "0.6"
    heat.text(j, i, absent if np.isnan(q) else f"{q:.2g}", ha="center", va="center", color=ink)
heat.set_xticks(range(8), RATINGS)
heat.set_yticks(range(7), RATINGS[:7])
heat.tick_params(length=0, labeltop=True, labelbottom=False)
heat.spines[:].set_visible(False)
heat.set_title("Rates, % a year; − where the table's logarithm is negative", pad=10)
NUDGE = 1, 1, 0.85, 1.15, 1, 0.85, 1.15  # labels apart
for i, color in enumerate(plt.get_cmap("plasma")(np.linspace(0, 0.85, 7))):
    curves.fill_between(YEARS, low[:, i], high[:, i], color=color, alpha=0.18, lw=0)
    curves.plot(YEARS, middle[:, i], color=color)
    curves.plot(range(1, 11), np.where(powers[:, i], powers[:, i], np.nan), ".", color=color)
    curves.text(10.2, middle[-1, i] * NUDGE[i], RATINGS[i], color=color, va="center")
curves.set(yscale="log", xlabel="years", xlim=(0, 10), ylim=(1e-6, 1))
curves.set_title("Default within t years: the chain ± 95 %; dots: powers of the table", pad=10)
figure.savefig(Path(__file__).parents[1] / "docs/images/markov_generator.png", dpi=120)
