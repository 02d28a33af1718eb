"""What is drawn, read off the pictures."""

import functools
import sys

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest

from dini import economics
from dini.economics import Model
from tests.support.compare import assert_close
from tests.support.economies import new_keynesian

mpl.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

MODEL = Model(
    new_keynesian.equations,
    new_keynesian.VARIABLES,
    new_keynesian.SHOCKS,
    steady_state=new_keynesian.steady_state,
)
P = new_keynesian.Params()


@functools.cache
def law():
    return MODEL.first_order(P)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def panels(figure):
    return {ax.get_title(loc="left"): ax for ax in figure.axes}


def legend(owner):
    (found,) = owner.legends if hasattr(owner, "legends") else [owner.get_legend()]
    return [text.get_text() for text in found.get_texts()]


def test_impulse_responses_are_drawn_a_line_a_shock():
    figure = economics.plot_impulse_responses(law(), horizon=9, variables=["pi", "y"])
    figure.canvas.draw()
    assert list(panels(figure)) == ["pi", "y"]
    assert legend(figure) == ["e_r", "e_v"]
    for name, ax in panels(figure).items():
        lines = {line.get_label(): line.get_xydata() for line in ax.lines}
        at = new_keynesian.VARIABLES.index(name)
        for shock in new_keynesian.SHOCKS:
            expected = np.asarray(law().impulse_response(shock, 9))[:, at]
            assert_close(lines[shock], np.stack([np.arange(9.0), expected], 1), rtol=1e-15)


def test_impulse_responses_have_bands_and_flat_lines():
    response = np.asarray(law().impulse_response("e_v", 6))
    bands = response - 1, response + 2
    figure = economics.plot_impulse_responses(law(), "e_v", 6, bands=bands)
    figure.canvas.draw()
    assert list(panels(figure)) == new_keynesian.VARIABLES
    assert "e_v" in figure.get_suptitle()
    for i, name in enumerate(new_keynesian.VARIABLES):
        (band,) = panels(figure)[name].collections
        corners = np.asarray(band.get_paths()[0].vertices)
        at_impact = corners[corners[:, 0] == 0, 1]
        assert_close([min(at_impact), max(at_impact)], [response[0, i] - 1, response[0, i] + 2])
    assert panels(figure)["rn"].get_ylim() == (-1, 1)
    both = {"e_v": bands, "e_r": bands}
    several = economics.plot_impulse_responses(law(), None, 6, ["y"], bands=both)
    assert len(several.axes[0].collections) == 2


def test_impulse_responses_refuse_what_does_not_fit():
    plot = economics.plot_impulse_responses
    with pytest.raises(KeyError, match="e_w"):
        plot(law(), "e_w")
    with pytest.raises(KeyError, match="variables: there is no 'z'"):
        plot(law(), variables=["z"])
    with pytest.raises(ValueError, match="no variables to draw"):
        plot(law(), variables=[])
    flat = np.zeros((5, 5))
    with pytest.raises(ValueError, match="by their names"):
        plot(law(), horizon=5, bands=(flat, flat))
    with pytest.raises(KeyError, match="bands: there is no 'e_r'"):
        plot(law(), "e_v", 5, bands={"e_r": (flat, flat)})
    with pytest.raises(ValueError, match=r"shape \(4, 5\) each.*\(5, 5\)"):
        plot(law(), "e_v", 4, bands=(flat, flat))


def test_variance_decomposition_draws_a_bar_of_all_shares():
    figure = economics.plot_variance_decomposition(law(), ["pi", "i"])
    figure.canvas.draw()
    (ax,) = figure.axes
    widths = np.array([[bar.get_width() for bar in group] for group in ax.containers]).T
    shares = np.asarray(law().variance_decomposition())[[1, 2]]
    assert_close(widths, shares, rtol=1e-14)
    starts = np.array([[bar.get_x() for bar in group] for group in ax.containers]).T
    assert_close(starts, np.cumsum(shares, 1) - shares, rtol=1e-14)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["pi", "i"]
    assert legend(figure) == new_keynesian.SHOCKS
    text = [t.get_text() for t in ax.texts]
    assert f"{100 * shares[0, 1]:.0f}" in text


def test_variance_decomposition_over_horizons_draws_areas():
    figure = economics.plot_variance_decomposition(law(), horizon=4)
    figure.canvas.draw()
    shares = np.asarray(law().variance_decomposition(4))
    for i, name in enumerate(new_keynesian.VARIABLES):
        areas = panels(figure)[name].collections
        for j, area in enumerate(areas):
            corners = np.asarray(area.get_paths()[0].vertices)
            tops = [corners[corners[:, 0] == t, 1].max() for t in (1, 2, 3, 4)]
            assert_close(tops, list(shares[:, i, : j + 1].sum(-1)), rtol=1e-12)


def test_determinacy_is_drawn_where_the_taylor_principle_holds():
    phi_pi, phi_y = np.linspace(0.5, 1.6, 12), np.linspace(0, 2, 7)
    ax = economics.plot_determinacy(MODEL, P, ("phi_pi", phi_pi), ("phi_y", phi_y))
    ax.figure.canvas.draw()
    codes = np.asarray(ax.collections[0].get_array()).reshape(7, 12)
    thresholds = np.array([[new_keynesian.threshold(P._replace(phi_y=y))] for y in phi_y])
    assert np.array_equal(codes, np.where(phi_pi > thresholds, 0, 1))
    assert legend(ax) == ["determinate", "indeterminate", "parameters"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("phi_pi", "phi_y")
    assert_close(ax.lines[0].get_xydata(), np.array([[P.phi_pi, P.phi_y]]))
    colours = ax.collections[0].cmap(ax.collections[0].norm(np.arange(4)))
    assert len({tuple(colour) for colour in colours}) == 4


@pytest.mark.slow
def test_determinacy_is_drawn_into_given_axes_without_the_point():
    """Beyond ρ = 1 there is no stable law."""
    _, ax = plt.subplots()
    grid = ("rho_r", [0.9, 1.1]), ("phi_pi", [0.5, 2.0])
    same = economics.plot_determinacy(MODEL, P._replace(phi_y=0.0), *grid, ax=ax)
    assert same is ax
    codes = np.asarray(ax.collections[0].get_array()).reshape(2, 2)
    assert codes[1].tolist() == [0, 2]
    assert not ax.lines
    assert "explosive" in legend(ax)


def test_determinacy_refuses_what_is_no_plane():
    line = np.linspace(0, 1, 3)
    for x, y in [("phi_pi", "phi_pi"), ("phi_pi", "phi_x")]:
        with pytest.raises(ValueError, match=r"two parameters|no 'phi_x'"):
            economics.plot_determinacy(MODEL, P, (x, line), (y, line))
    with pytest.raises(ValueError, match="two values or more"):
        economics.plot_determinacy(MODEL, P, ("phi_pi", line), ("phi_y", 1.0))


TREE = {"a": 2.0, "b": jnp.array([3.0, -1.0]), "n": 3, "zero": 0.0}


def power(p):
    """a² b₀ⁿ exp(b₁): elasticities 2, n and b₁."""
    return p["a"] ** 2 * p["b"][0] ** p["n"] * jnp.exp(p["b"][1]) + 0 * p["zero"]


def test_sensitivities_are_those_of_a_power():
    found = economics.sensitivity(power, TREE)
    assert found == pytest.approx({"a": 2, "b[0]": 3, "b[1]": -1, "zero": 0}, rel=1e-14)
    semi = economics.sensitivity(power, TREE, kind="semi-elasticity", names=["b"])
    value = float(power(TREE))
    assert semi == pytest.approx({"b[0]": 3 * value, "b[1]": -value}, rel=1e-14)
    plain = economics.sensitivity(power, TREE, kind="derivative", names=["a", "zero"])
    assert plain == pytest.approx({"a": value, "zero": 0}, rel=1e-14)


def test_sensitivities_refuse_what_has_none():
    with pytest.raises(ValueError, match="one number"):
        economics.sensitivity(lambda p: p["b"], TREE)
    with pytest.raises(ValueError, match="no elasticity where the value is 0"):
        economics.sensitivity(lambda p: p["zero"], TREE)
    with pytest.raises(ValueError, match="no kind 'slope'"):
        economics.sensitivity(power, TREE, kind="slope")
    with pytest.raises(ValueError, match=r"there is no 'c'"):
        economics.sensitivity(power, TREE, names=["c"])
    with pytest.raises(ValueError, match="no floating-point number"):
        economics.sensitivity(lambda p: 1.0, {"n": 3})


def test_sensitivity_is_drawn_from_the_largest_down():
    ax = economics.plot_sensitivity(power, TREE, largest=3)
    ax.figure.canvas.draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b[0]", "a", "b[1]"]
    (bars,) = ax.containers
    assert_close([bar.get_width() for bar in bars], [3.0, 2.0, -1.0], rtol=1e-14)
    assert bars[0].get_facecolor() == bars[1].get_facecolor() != bars[2].get_facecolor()
    top, bottom = ax.transData.transform([(0, 0), (0, 2)])[:, 1]
    assert top > bottom


def test_plots_without_matplotlib_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (
        lambda: economics.plot_impulse_responses(law()),
        lambda: economics.plot_variance_decomposition(law()),
        lambda: economics.plot_determinacy(MODEL, P, ("phi_pi", [0, 1]), ("phi_y", [0, 1])),
        lambda: economics.plot_sensitivity(power, TREE),
    ):
        with pytest.raises(ImportError, match=r"dini\[plot\]"):
            draw()


def test_many_shocks_have_as_many_colours():
    colours = jax.random.uniform(jax.random.key(0), (12, 4))
    many = economics.FirstOrderLaw(
        law().transition,
        jnp.concatenate([colours.T, jnp.ones((1, 12))]),
        law().steady_state,
        law().result,
        law().linearised,
        law().solvent,
        tuple("abcdefghijkl"),
    )
    figure = economics.plot_impulse_responses(many, horizon=3, variables=["y"])
    figure.canvas.draw()
    lines = [line for line in figure.axes[0].lines if line.get_label() in many.shocks]
    assert len({tuple(np.ravel(line.get_color())) for line in lines}) == 12
