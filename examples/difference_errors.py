"""How wrong is a finite difference? Roundoff against truncation, step by step.

The function is that of Squire and Trapp (SIAM Review 40, 1998, pages 110-112), who used it to show
what complex steps can do. Beside them stand automatic differentiation and Ridders' method.
"""

# %% Set-up: double precision, and single beside it
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import dini

jax.config.update("jax_enable_x64", True)


# %% The function, its derivative in closed form, and the point
def f(x):
    """exp(x) / sqrt(sin³ x + cos³ x), in NumPy or in JAX, of real or complex numbers."""
    lib = jnp if isinstance(x, jax.Array) else np
    return lib.exp(x) / lib.sqrt(lib.sin(x) ** 3 + lib.cos(x) ** 3)


def slope(x):
    """f'(x) = f(x) (1 − 3/2 sin x cos x (sin x − cos x) / (sin³ x + cos³ x))."""
    s, c = np.sin(x), np.cos(x)
    return f(x) * (1 - 1.5 * s * c * (s - c) / (s**3 + c**3))


POINT = 1.5
exact = slope(POINT)
np.testing.assert_allclose(exact, 4.053427893898621, rtol=1e-14)  # mpmath, 40 digits

# %% Each method at the step that it chooses itself
tangents = {
    "automatic": jax.jvp(f, (jnp.asarray(POINT),), (jnp.asarray(1.0),))[1],
    "complex step": dini.numeric.complex_step_jvp(f, (POINT,), (1.0,))[1],
    **{
        method: dini.numeric.finite_difference_jvp(f, (POINT,), (1.0,), method)[1]
        for method in ("ridders", "five_point", "central", "forward")
    },
}
expected = [1e-15, 1e-15, 1e-12, 1e-11, 1e-9, 1e-6]  # no method does worse than this
print(f"f'({POINT}) = {exact:.15f}\n{'method':14}{'error':>10}")
for (method, tangent), bound in zip(tangents.items(), expected, strict=True):
    error = abs(float(tangent) / exact - 1)
    print(f"{method:14}{error:10.1e}")
    assert error <= bound, method

_, ridders, bar = dini.numeric.ridders_jvp(f, (POINT,), (1.0,))
assert abs(ridders - exact) <= bar, "the error bar holds"
print(f"{'':14}{bar / exact:10.1e}  Ridders' own error bar")

# %% The measured orders: how fast the error falls with the step
steps = {"forward": (1e-5, 1e-3), "central": (1e-4, 1e-2), "five_point": (1e-3, 1e-2)}
for (method, (small, large)), order in zip(steps.items(), (1, 2, 4), strict=True):
    errors = [
        abs(dini.numeric.finite_difference_jvp(f, (POINT,), (1.0,), method, h)[1] - exact)
        for h in (small, large)
    ]
    measured = np.log(errors[1] / errors[0]) / np.log(large / small)
    print(f"{method} differences are of order {measured:.2f}")
    assert abs(measured - order) < 0.1

# %% The picture, in both precisions
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
for ax, dtype in zip(axes, (jnp.float64, jnp.float32), strict=True):
    x, one = jnp.asarray(POINT, dtype), jnp.asarray(1, dtype)
    at = slope(np.float64(x))  # the derivative where the rounded point is
    dini.numeric.plot_error(f, (x,), (one,), exact=at, ax=ax)
    shares = np.logspace(-16, 0, 49)
    by_complex = [dini.numeric.complex_step_jvp(f, (x,), (one,), h * POINT)[1] for h in shares]
    floor = float(jnp.finfo(dtype).eps) / 4  # an error of zero has no logarithm
    errors = np.maximum(np.abs(np.asarray(by_complex, np.float64) / at - 1), floor)
    ax.loglog(shares, errors, color="C3", label="complex step")
    automatic = abs(float(jax.jvp(f, (x,), (one,))[1]) / at - 1)
    ax.axhline(max(automatic, floor), color="black", linestyle=":", label="automatic")
    ax.set_title(f"{np.dtype(dtype).name}, eps = {float(jnp.finfo(dtype).eps):.0e}")
    ax.set_ylim(1e-17, 1e2)
    ax.set_xlim(1e-16, 1)
    ax.get_legend().remove()
axes[1].set_ylabel("")
axes[1].legend(loc="lower left", fontsize=8, ncols=2)
picture = Path(__file__).parents[1] / "docs" / "images" / "difference_errors.png"
figure.savefig(picture, dpi=120)
print(f"\nroundoff on the left, truncation on the right: {picture.name}")
