"""The picture of errors against steps."""

import sys

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest

from dini import numeric

mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")


def lines(ax):
    return {line.get_label(): line.get_xydata() for line in ax.lines}


def test_plot_draws_roundoff_and_truncation():
    ax = numeric.plot_error(jnp.sin, (jnp.array([0.5, 1.0]),), (jnp.ones(2),))
    drawn = lines(ax)
    assert {"forward", "central", "five_point", "ridders: error bar"} <= set(drawn)
    for method, order in {"forward": 1, "central": 2, "five_point": 4}.items():
        step, error = np.asarray(drawn[method]).T
        coarse = (step > 0.02) & (step < 0.3)
        slope = np.polyfit(np.log(step[coarse]), np.log(error[coarse]), 1)[0]
        assert abs(slope - order) < 0.2
        assert error[0] > 1e3 * np.min(error)
    ax.figure.canvas.draw()
    plt.close(ax.figure)


def test_plot_takes_axes_and_the_exact_tangent():
    figure, ax = plt.subplots()
    x = {"a": 1e9, "b": 1e-9}

    def f(x):
        return np.log(x["a"]), x["b"] ** 2

    same = numeric.plot_error(f, (x,), (x,), exact=(1.0, 2e-18), ax=ax)
    assert same is ax
    assert np.nanmin(lines(ax)["five_point"][:, 1]) < 1e-11
    plt.close(figure)


def test_plot_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match="no finite derivative"):
        numeric.plot_error(np.abs, (0.0,), (1.0,))
    with pytest.raises(ValueError, match="tangent is zero"):
        numeric.plot_error(np.sin, (0.0,), (0.0,))
    with pytest.raises(ValueError, match="structure"):
        numeric.plot_error(np.sin, (1.0,), (1.0,), exact=np.ones(2))


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"dini\[plot\]"):
        numeric.plot_error(np.sin, (1.0,), (1.0,))
