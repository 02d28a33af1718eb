"""The model of `examples/smets_wouters_model.py`, its other calibration, and the published data."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
DATA = ROOT.parent / "shared/reference/data/usmodel.csv"

_path = ROOT / "examples/smets_wouters_model.py"
_spec = importlib.util.spec_from_file_location(_path.stem, _path)
model = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(model)

VARIABLES, SHOCKS, OBSERVABLES = model.VARIABLES, model.SHOCKS, model.OBSERVABLES
equations, steady_state, PRIORS = model.equations, model.steady_state, model.PRIORS
Params = model.Params  # the mode

# Far from the mode, with mark-ups that do not persist: sp = ep and sw = ew, so states are redundant
START = model.Params(
    z_ea=0.4618,
    z_eb=1.8513,
    z_eg=0.6090,
    z_eqs=0.6017,
    z_em=0.2397,
    z_epinf=0.1455,
    z_ew=0.2089,
    crhoa=0.9977,
    crhob=0.5799,
    crhog=0.9957,
    crhoqs=0.7165,
    crhoms=0.0,
    crhopinf=0.0,
    crhow=0.0,
    cmap=0.0,
    cmaw=0.0,
    csadjcost=6.0144,
    csigma=1.5,
    chabb=0.6361,
    cprobw=0.8087,
    csigl=1.9423,
    cprobp=0.6,
    cindw=0.3243,
    cindp=0.47,
    czcap=0.2696,
    cfc=1.5,
    crpi=1.488,
    crr=0.8762,
    cry=0.0593,
    crdy=0.2347,
    constepinf=0.7,
    constebeta=0.742,
    constelab=0.0,
    ctrend=0.3982,
    cgy=0.51,
    calfa=0.24,
)

# The variables that occur with a lag
STATES = ["y", "c", "i", "w", "r", "pi", "kp", "yf", "cf", "if", "kpf"]
STATES += ["a", "b", "g", "qs", "ms", "sp", "sw", "ep", "ew"]


def published_data(first=71, last=230):
    """Rows of the published data, counted from one, both ends included: (quarters, 7)."""
    if not DATA.exists():
        pytest.skip(f"the published data are not there: {DATA.name}")
    with DATA.open(encoding="utf-8") as file:
        assert file.readline().strip().split(",") == OBSERVABLES
        return np.loadtxt(file, delimiter=",")[first - 1 : last]
