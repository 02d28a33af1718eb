"""Dynamic stochastic economic models: steady state, law of motion, and what follows from it."""

from dini.economics._decompositions import (
    Forecast as Forecast,
    HistoricalDecomposition as HistoricalDecomposition,
)
from dini.economics._equations import Linearised as Linearised
from dini.economics._identification import (
    Identification as Identification,
    identification as identification,
)
from dini.economics._kalman import (
    Filtered as Filtered,
    kalman_filter as kalman_filter,
    log_likelihood as log_likelihood,
)
from dini.economics._law import FirstOrderLaw as FirstOrderLaw
from dini.economics._measurement import measurement_log_density as measurement_log_density
from dini.economics._model import Model as Model
from dini.economics._plot import (
    plot_determinacy as plot_determinacy,
    plot_impulse_responses as plot_impulse_responses,
    plot_sensitivity as plot_sensitivity,
    plot_variance_decomposition as plot_variance_decomposition,
)
from dini.economics._record import Record as Record
from dini.economics._second_order import SecondOrderLaw as SecondOrderLaw
from dini.economics._sensitivity import sensitivity as sensitivity
from dini.economics._smoother import Smoothed as Smoothed, kalman_smoother as kalman_smoother
from dini.economics._state_space import Prior as Prior, StateSpace as StateSpace
from dini.economics._transforms import Bounds as Bounds
from dini.economics._verdict import Verdict as Verdict
