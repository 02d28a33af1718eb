"""Bracketing, under Optimistix and under the decorator, against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest
from scipy import optimize

import dini
from tests.support.compare import assert_close
from tests.support.marks import slow
from tests.support.outcome import assert_nan, assert_right, lane, mapped

TOLERANCE = 1e-9


def solve(fun, lower, upper, guess=None, args=None, tolerance=TOLERANCE, **options):
    solver = dini.Bracketing(0.0, tolerance)
    guess = lower if guess is None else guess
    bracket = {"lower": lower, "upper": upper}
    options = {"throw": False} | options
    return optx.root_find(fun, solver, jnp.asarray(guess), args, bracket, **options)


def succeeded(solution):
    return solution.result == optx.RESULTS.successful


# --- A batch of problems -------------------------------------------------------------------------

# Each with F(z) = 0 at z = r, of slope c: one array program and one for SciPy.
FAMILIES = [
    lambda xp, z, r, c: xp.exp(c * (z - r)) - 1,
    lambda xp, z, r, c: xp.arctan(5 * c * (z - r)),
    lambda xp, z, r, c: (z - r) ** 3 + c * (z - r),
    lambda xp, z, r, c: xp.sinh(c * (z - r)) + 0.3 * c * (z - r),
    lambda xp, z, r, c: c * (z - r) ** 5,
    lambda xp, z, r, c: c * (z - r) / (1.01 + xp.abs(z - r)),
    lambda xp, z, r, c: xp.tanh(1e4 * (z - r)),
    lambda xp, z, r, c: (1e3 * (z - r)) ** 3 * xp.exp(z),
]


def random_problems(count=1000, seed=0):
    random = np.random.default_rng(seed)
    r = random.uniform(-1, 1, count)
    c = random.uniform(0.2, 4, count)
    lower, upper = r - random.uniform(0.1, 3, count), r + random.uniform(0.1, 3, count)
    return np.arange(count) % len(FAMILIES), r, c, lower, upper


def _branch(z, args):
    which, r, c = args
    return jax.lax.switch(which, [lambda f=f: f(jnp, z, r, c) for f in FAMILIES])


@pytest.fixture(scope="module")
def batch():
    """(problems, roots, evaluations, those of plain bisection) of one vmapped program."""
    which, r, c, lower, upper = random_problems()

    def one(which, r, c, lower, upper):
        s = solve(_branch, lower, upper, args=(which, r, c))
        return s.value, s.stats["evaluations"], succeeded(s)

    run = jax.jit(jax.vmap(one))
    z, evaluations, ok = map(np.asarray, run(which, r, c, lower, upper))
    assert ok.all()
    bisections = np.ceil(np.log2((upper - lower) / TOLERANCE))
    return (which, r, c, lower, upper), z, evaluations, bisections


def scipy_counts(problems, method):
    """The roots and the evaluations of a SciPy method, for each problem."""
    roots, counts = [], []
    for which, r, c, lower, upper in zip(*problems, strict=True):
        f = lambda z, k=which, r=r, c=c: FAMILIES[k](np, z, r, c)
        kwargs = {"xtol": TOLERANCE / 2, "rtol": 1e-15, "maxiter": 1000, "full_output": True}
        z, info = method(f, lower, upper, **kwargs)
        roots.append(z)
        counts.append(info.function_calls)
    return np.array(roots), np.array(counts)


def test_bracketing_agrees_with_brentq_in_every_lane(batch):
    problems, z, evaluations, _ = batch
    roots, _ = scipy_counts(problems, optimize.brentq)
    np.testing.assert_allclose(z, roots, rtol=0, atol=2 * TOLERANCE)
    np.testing.assert_allclose(z, problems[1], rtol=0, atol=TOLERANCE)
    assert len(set(evaluations.tolist())) > 10


def test_bracketing_costs_less_than_brentq_and_toms748_and_never_much_more_than_bisection(batch):
    problems, _, evaluations, bisections = batch
    for method in (optimize.brentq, optimize.toms748):
        _, counts = scipy_counts(problems, method)
        assert evaluations.mean() < counts.mean(), (method, evaluations.mean(), counts.mean())
        assert evaluations.max() < counts.max(), (method, evaluations.max(), counts.max())
    assert evaluations.mean() < 0.6 * bisections.mean()
    assert np.all(evaluations <= 1.5 * bisections + 2)  # 2 for the bounds


def test_bracketing_is_superlinear():
    """From 1e-4 to 1e-14, 33 bisections, it takes four evaluations."""
    counts = [
        int(solve(lambda z, _: jnp.cos(z) - z, 0.0, 1.0, tolerance=t).stats["evaluations"])
        for t in (1e-4, 1e-14)
    ]
    assert counts[1] - counts[0] <= 4, counts


# --- Hard brackets and hard functions ------------------------------------------------------------

HARD = {
    "ninth power": (lambda z: (z - 1) ** 9, -1.0, 2.7, 1.0, 1e-9),
    "root at zero": (lambda z: jnp.sin(z) * (2 + jnp.cos(z)), -0.9, 2.0, 0.0, 1e-9),
    "cube root": (lambda z: jnp.cbrt(z - 0.3), -1.0, 1.0, 0.3, 1e-9),
    "nearly a jump": (lambda z: jnp.tanh(1e12 * (z - 0.3)), -1.0, 1.0, 0.3, 1e-9),
    "overflows": (lambda z: jnp.exp(z) - 2, -1e4, 1e4, np.log(2), 1e-9),
    "huge bracket": (lambda z: jnp.arctan(z - 1e-5), -1e300, 1.7e308, 1e-5, 1e-9),
    "widest bracket": (lambda z: jnp.sign(z) * jnp.log1p(jnp.abs(z)) - 3, -1.7e308, 1.7e308,
                       np.expm1(3), 1e-8),
    "hundred decades": (lambda z: z**3 - 1e-15, 0.0, 1e100, 1e-5, 1e-9),
    "decreasing": (lambda z: 0.3 * z**-0.7 - 0.05, 0.01, 100.0, 6 ** (1 / 0.7), 1e-8),
    "lower end": (lambda z: z - 1, 1.0, 2.0, 1.0, 0.0),
    "upper end": (lambda z: z - 2, 1.0, 2.0, 2.0, 0.0),
    "no width": (lambda z: z - 2, 2.0, 2.0, 2.0, 0.0),
}  # fmt: skip

NO_ROOT = {
    "pole at zero": (lambda z: 1 / z, -1.0, 2.0),
    "pole": (lambda z: 1 / (z - 0.3), -1.0, 2.0),
    "tangent": (jnp.tan, 1.0, 2.0),
    "jump": (lambda z: jnp.where(z < 0.3, -1.0, 1.0), -1.0, 2.0),
    "jump in a slope": (lambda z: 1e3 * z + jnp.where(z < 0, -1.0, 1.0), -1.0, 2.0),
    "small jump": (lambda z: z - 0.1 + jnp.where(z < 0.1, -1e-6, 1e-6), -1.0, 2.0),
    "jump beside an exponential": (
        lambda z: jnp.exp(z) - 1 + jnp.where(z < 0, -1.0, 1.0), -1.0, 700.0),
    "equal signs": (lambda z: z**2 + 1, -1.0, 1.0),
    "order": (lambda z: z, 1.0, -1.0),
}  # fmt: skip

UNDEFINED = {
    "undefined at an end": (jnp.log, -1.0, 2.0),
    "undefined inside": (lambda z: jnp.where(jnp.abs(z) < 0.9, jnp.nan, z), -1.0, 2.0),
    "infinite": (lambda z: z, -np.inf, 1.0),
    "not a number": (lambda z: z, -1.0, np.nan),
}


def _all_at_once(cases, dtype=jnp.float64, tolerance=TOLERANCE):
    """Every case as a lane of one program; its guess is 0.7, inside most brackets."""
    functions = [lambda z, f=c[0]: f(z).astype(dtype) for c in cases.values()]

    def one(which, lower, upper):
        fun = lambda z, _: jax.lax.switch(which, functions, z)
        s = solve(fun, lower, upper, jnp.asarray(0.7, dtype), tolerance=tolerance, max_steps=1000)
        return s.value, s.result._value, s.stats

    lower, upper = (jnp.array([c[i] for c in cases.values()], dtype) for i in (1, 2))
    z, codes, stats = jax.jit(jax.vmap(one))(jnp.arange(len(cases)), lower, upper)
    return z, np.asarray(codes), stats


def test_bracketing_solves_hard_problems():
    z, codes, stats = _all_at_once(HARD)
    for i, (name, (_, lower, upper, root, error)) in enumerate(HARD.items()):
        assert codes[i] == optx.RESULTS.successful._value, name
        assert abs(z[i] - root) <= error, (name, z[i])
        assert stats["evaluations"][i] <= 70, (name, stats["evaluations"][i])
        assert stats["bracketed"][i], name
        assert lower <= stats["lower"][i] <= stats["upper"][i] <= upper, name


def test_bracketing_refuses_what_is_no_root():
    _, codes, stats = _all_at_once(NO_ROOT)
    for i, name in enumerate(NO_ROOT):
        assert codes[i] == optx.RESULTS.nonlinear_divergence._value, name
        assert stats["evaluations"][i] <= 120, (name, stats["evaluations"][i])
        assert bool(stats["bracketed"][i]) == (name not in ("equal signs", "order")), name


def test_bracketing_refuses_what_is_not_finite():
    _, codes, _ = _all_at_once(UNDEFINED)
    assert np.all(codes == optx.RESULTS.nonfinite._value), codes


def test_bracketing_in_single_precision():
    """Also where the tolerance asks for more than the dtype has."""
    # The ninth power underflows there.
    cases = {k: v for k, v in HARD.items() if max(abs(v[1]), abs(v[2])) < 1e3 and k[0] != "n"}
    z, codes, _ = _all_at_once(cases, jnp.float32, tolerance=1e-9)
    assert z.dtype == jnp.float32
    for i, (name, (*_, root, _)) in enumerate(cases.items()):
        assert codes[i] == optx.RESULTS.successful._value, name
        assert abs(z[i] - root) <= 1e-6 * max(1, abs(root)), (name, z[i])


def test_bracketing_at_the_tightest_tolerance_ends():
    s = solve(lambda z, _: 0.3 * z**-0.7 - 0.05, 0.01, 100.0, tolerance=0.0)
    assert succeeded(s)
    assert s.stats["evaluations"] <= 20
    np.testing.assert_allclose(s.value, 6 ** (1 / 0.7), rtol=1e-14)


# --- Where F is evaluated ------------------------------------------------------------------------


@pytest.mark.parametrize("guess", [0.5, slow(-10.0), slow(1.2)])
def test_bracketing_evaluates_f_once_a_step_and_never_outside_the_bracket(guess):
    seen = []

    def fun(z, _):
        jax.debug.callback(lambda z: seen.append(float(z)), z, ordered=True)
        return jnp.expm1(3 * z) * jnp.cosh(z) + z**3

    solution = solve(fun, -2.0, 1.0, guess)
    jax.effects_barrier()
    assert succeeded(solution)
    assert len(seen) == solution.stats["evaluations"] == solution.stats["num_steps"]
    assert seen[:2] == [-2.0, 1.0]
    assert min(seen) == -2.0
    assert max(seen) == 1.0
    assert (seen[2] == guess) == (-2 < guess < 1)
    assert len(set(seen)) == len(seen)


def test_bracketing_compiles_the_function_once():
    def run(lower, upper):
        return solve(lambda z, _: jax.lax.erf_inv(z) - 0.3, lower, upper).value

    assert str(jax.make_jaxpr(run)(0.0, 0.9)).count("erf_inv") == 1


# --- Wrong calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fun", "guess", "options", "message"),
    [
        (lambda z, _: z, 0.0, {"lower": 0.0}, "upper is missing"),
        (lambda z, _: z, 0.0, {}, "lower and upper is missing"),
        (lambda z, _: z, jnp.zeros(3), {"lower": 0.0, "upper": 1.0}, r"unknown.*float64\[3\]"),
        (lambda z, _: z[0], (0.0, 1.0), {"lower": 0.0, "upper": 1.0}, "unknown"),
        (lambda z, _: jnp.stack([z, z]), 0.0, {"lower": 0.0, "upper": 1.0}, "residual"),
        (lambda z, _: z, 0.0, {"lower": jnp.zeros(2), "upper": 1.0}, "options.*lower"),
    ],
)
def test_bracketing_refuses_a_wrong_call(fun, guess, options, message):
    with pytest.raises(ValueError, match=message):
        optx.root_find(fun, dini.Bracketing(1e-8, 1e-8), jax.tree.map(jnp.asarray, guess), None,
                       options)  # fmt: skip


def test_bracketing_takes_a_tree_that_holds_one_number():
    fun, solver = lambda z, _: (z["x"] ** 2 - 2,), dini.Bracketing(1e-12, 1e-12)
    bracket = {"lower": 0.0, "upper": {"x": 2.0}}
    s = optx.root_find(fun, solver, {"x": jnp.asarray(1.0)}, None, bracket)
    np.testing.assert_allclose(s.value["x"], np.sqrt(2), rtol=1e-11)


# --- Under the decorator -------------------------------------------------------------------------


@dini.implicit_root(solver=dini.Bracketing(1e-12, 1e-12), throw=False)
def cubic(z, a):
    """z³ + z = a."""
    return z**3 + z - a


def _bracketed(a):
    return cubic.with_options(options={"lower": a - 5.0, "upper": 2.0})(0.0, a)


def test_bracketing_lanes_are_exact_or_nan_in_every_derivative():
    """z³ + z = t³ + t has z = t; the bracket, traced too, holds 1 and −1, and not 3."""
    t = np.array([1.0, 3.0, -1.0])
    outcomes = mapped(_bracketed, t**3 + t)
    slope = 1 / (3 * t**2 + 1)
    for i in (0, 2):
        expected = {"value": t[i], "reverse": slope[i], "forward": slope[i],
                    "second": -6 * t[i] * slope[i] ** 3}  # fmt: skip
        assert_right(lane(outcomes, i), expected)
    assert_nan(lane(outcomes, 1))


def test_bracketing_reports_under_the_decorator():
    solution = jax.jit(cubic.with_options(options={"lower": -5.0, "upper": 2.0}).solve)(0.0, 30.0)
    assert solution.result == optx.RESULTS.nonlinear_divergence
    assert not solution.stats["bracketed"]
    assert solution.stats["evaluations"] == 2


def test_bracketing_emits_no_callback_where_nothing_is_to_raise():
    assert "callback" not in jax.jit(jax.value_and_grad(_bracketed)).lower(1.0).as_text()


def test_bracketing_in_an_invalid_bracket_raises_by_name():
    strict = cubic.with_options(throw=True, options={"lower": -5.0, "upper": 2.0})
    with pytest.raises(Exception, match="Bracketing needs finite bounds"):
        jax.block_until_ready(jax.jit(strict)(0.0, 30.0))
    # Of the search or of the derivative, whichever a compiled program comes to first.
    with pytest.raises(Exception, match=r"Bracketing needs finite bounds|its solver failed"):
        jax.block_until_ready(jax.jit(jax.jacfwd(strict, 1))(0.0, 30.0))
    with pytest.raises(Exception, match="diverged"):
        jax.block_until_ready(solve(lambda z, _: z + 5, 0.0, 1.0, throw=True))


@pytest.mark.slow
def test_bracketing_has_no_derivative_in_bracket_and_guess():
    def f(guess, lower, upper):
        bracket = {"lower": lower, "upper": upper}
        return cubic.with_options(options=bracket)(guess, 2.0)

    gradients = jax.jit(jax.grad(f, (0, 1, 2)))(0.5, 0.0, 3.0)
    assert_close(gradients, (jnp.zeros(()),) * 3)
