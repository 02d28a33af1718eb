"""Economies in the form that `dini.economics.Model` takes, with what is known of them.

Each module has `VARIABLES`, `SHOCKS`, `equations(lag, now, lead, shock, p)`, a `Params` whose
defaults are the calibration, and `steady_state(p)`, a closed form. A law of motion is
w_t − w̄ = X (w_{t−1} − w̄) + R ε_t. Perturbation theory splits w into states x, known before the
shocks of t or moved by them alone, and the rest y = g_x x; `perturbation_form` goes from X and R to
g_x and h_x.
"""
