"""The economy of Smets and Wouters: its equations, its priors and the posterior mode.

American Economic Review 97(3), 2007, 586–606; the equations are those of the replication code. All
variables but the observables are 100 times deviations of logarithms from the balanced growth path;
rates and inflation are per quarter.
"""

import math
from collections import namedtuple
from types import SimpleNamespace
from typing import NamedTuple

import jax.numpy as jnp
from scipy.optimize import brentq

STICKY = ["y", "c", "i", "l", "w", "r", "pi", "q", "rk", "ks", "kp", "z", "mc"]
FLEXIBLE = ["yf", "cf", "if", "lf", "wf", "rrf", "qf", "rkf", "ksf", "kpf", "zf"]
PROCESSES = ["a", "b", "g", "qs", "ms", "sp", "sw", "ep", "ew"]
OBSERVABLES = ["dy", "dc", "dinve", "labobs", "pinfobs", "dw", "robs"]
VARIABLES = [*STICKY, *FLEXIBLE, *PROCESSES, *OBSERVABLES]
SHOCKS = ["ea", "eb", "eg", "eqs", "em", "epinf", "ew_shock"]

# Not estimated: depreciation, the wage mark-up, the share of spending, the curvatures of demand
CTOU, CLANDAW, CG, CURVP, CURVW = 0.025, 1.5, 0.18, 10.0, 10.0


# %% Equations
def derived(p):
    """What follows from the parameters: the balanced growth path and the slopes."""
    gam, bet, inflation = 1 + p.ctrend / 100, 1 / (1 + p.constebeta / 100), 1 + p.constepinf / 100
    bb = bet * gam**-p.csigma
    bg = bb * gam
    rk = 1 / bb - (1 - CTOU)
    w = p.calfa**p.calfa * (1 - p.calfa) ** (1 - p.calfa) / (p.cfc * rk**p.calfa)
    w = w ** (1 / (1 - p.calfa))
    ikb = 1 - (1 - CTOU) / gam
    ky = p.cfc * ((1 - p.calfa) / p.calfa * rk / w) ** (p.calfa - 1)
    iy = ikb * gam * ky
    cy = 1 - CG - iy
    whlc = (1 - p.calfa) / p.calfa * rk * ky / cy / CLANDAW
    h = p.chabb / gam
    kp = (1 - p.cprobp) * (1 - bg * p.cprobp) / p.cprobp / ((p.cfc - 1) * CURVP + 1)
    kw = (1 - p.cprobw) * (1 - bg * p.cprobw) / ((1 + bg) * p.cprobw)
    return SimpleNamespace(
        conster=100 * (inflation / bb - 1),
        bg=bg,
        ikb=ikb,
        iy=iy,
        cy=cy,
        zy=rk * ky,
        h=h,
        S=gam**2 * p.csadjcost,
        c1=h / (1 + h),
        c2=(p.csigma - 1) * whlc / (p.csigma * (1 + h)),
        c3=(1 - h) / (p.csigma * (1 + h)),
        q1=(1 - CTOU) / (rk + 1 - CTOU),
        zeta=(1 - p.czcap) / p.czcap,
        kp=kp,
        kw=kw / ((CLANDAW - 1) * CURVW + 1),
    )


def flexible(lag, now, lead, p, s):
    """The economy without rigid prices and wages, from which the output gap is counted."""
    investment = (lag["if"] + s.bg * lead["if"] + now.qf / s.S) / (1 + s.bg) + now.qs
    consumption = s.c1 * lag.cf + (1 - s.c1) * lead.cf + s.c2 * (now.lf - lead.lf)
    value = now.b / s.c3 + (1 - s.q1) * lead.rkf + s.q1 * lead.qf
    supply = p.csigl * now.lf + (now.cf - s.h * lag.cf) / (1 - s.h)
    output = p.cfc * (p.calfa * now.ksf + (1 - p.calfa) * now.lf + now.a)
    return {
        "flexible marginal cost": p.calfa * now.rkf + (1 - p.calfa) * now.wf - now.a,
        "flexible utilisation": s.zeta * now.rkf - now.zf,
        "flexible return on capital": now.wf + now.lf - now.ksf - now.rkf,
        "flexible capital services": lag.kpf + now.zf - now.ksf,
        "flexible investment": investment - now["if"],
        "flexible value of capital": value - now.rrf - now.qf,
        "flexible consumption": consumption - s.c3 * now.rrf + now.b - now.cf,
        "flexible resources": s.cy * now.cf + s.iy * now["if"] + now.g + s.zy * now.zf - now.yf,
        "flexible production": output - now.yf,
        "flexible wage": supply - now.wf,
        "flexible capital": (1 - s.ikb) * lag.kpf + s.ikb * (now["if"] + s.S * now.qs) - now.kpf,
    }


def sticky(lag, now, lead, p, s):
    """The economy with prices and wages set for some time, and a central bank."""
    investment = (lag.i + s.bg * lead.i + now.q / s.S) / (1 + s.bg) + now.qs
    real_rate = now.r - lead.pi
    consumption = s.c1 * lag.c + (1 - s.c1) * lead.c + s.c2 * (now.l - lead.l)
    value = now.b / s.c3 + (1 - s.q1) * lead.rk + s.q1 * lead.q
    output = p.cfc * (p.calfa * now.ks + (1 - p.calfa) * now.l + now.a)
    prices = (s.bg * lead.pi + p.cindp * lag.pi + s.kp * now.mc) / (1 + s.bg * p.cindp)
    wages = lag.w + s.bg * lead.w + p.cindw * lag.pi
    wages = wages - (1 + s.bg * p.cindw) * now.pi + s.bg * lead.pi
    supply = p.csigl * now.l + (now.c - s.h * lag.c) / (1 - s.h)
    gap, gap_before = now.y - now.yf, lag.y - lag.yf
    target = (1 - p.crr) * (p.crpi * now.pi + p.cry * gap) + p.crdy * (gap - gap_before)
    return {
        "marginal cost": p.calfa * now.rk + (1 - p.calfa) * now.w - now.a - now.mc,
        "utilisation": s.zeta * now.rk - now.z,
        "return on capital": now.w + now.l - now.ks - now.rk,
        "capital services": lag.kp + now.z - now.ks,
        "investment": investment - now.i,
        "value of capital": value - real_rate - now.q,
        "consumption": consumption - s.c3 * real_rate + now.b - now.c,
        "resources": s.cy * now.c + s.iy * now.i + now.g + s.zy * now.z - now.y,
        "production": output - now.y,
        "prices": prices + now.sp - now.pi,
        "wages": wages / (1 + s.bg) + s.kw * (supply - now.w) + now.sw - now.w,
        "interest rate": target + p.crr * lag.r + now.ms - now.r,
        "capital": (1 - s.ikb) * lag.kp + s.ikb * (now.i + s.S * now.qs) - now.kp,
    }


def processes(lag, now, shock, p):
    """Seven processes, and two innovations that are kept because they have a lag."""
    technology = p.z_ea * shock.ea
    return {
        "technology": p.crhoa * lag.a + technology - now.a,
        "risk premium": p.crhob * lag.b + p.z_eb * shock.eb - now.b,
        "spending": p.crhog * lag.g + p.z_eg * shock.eg + p.cgy * technology - now.g,
        "investment shock": p.crhoqs * lag.qs + p.z_eqs * shock.eqs - now.qs,
        "policy shock": p.crhoms * lag.ms + p.z_em * shock.em - now.ms,
        "price mark-up": p.crhopinf * lag.sp + now.ep - p.cmap * lag.ep - now.sp,
        "wage mark-up": p.crhow * lag.sw + now.ew - p.cmaw * lag.ew - now.sw,
        "price innovation": p.z_epinf * shock.epinf - now.ep,
        "wage innovation": p.z_ew * shock.ew_shock - now.ew,
    }


def observables(lag, now, p, s):
    """What the data measure, in levels: growth rates, hours, inflation, the interest rate."""
    return {
        "output growth": p.ctrend + now.y - lag.y - now.dy,
        "consumption growth": p.ctrend + now.c - lag.c - now.dc,
        "investment growth": p.ctrend + now.i - lag.i - now.dinve,
        "hours": p.constelab + now.l - now.labobs,
        "inflation": p.constepinf + now.pi - now.pinfobs,
        "wage growth": p.ctrend + now.w - lag.w - now.dw,
        "federal funds rate": s.conster + now.r - now.robs,
    }


def equations(lag, now, lead, shock, p):
    """All forty residuals, by name."""
    s = derived(p)
    economy = flexible(lag, now, lead, p, s) | sticky(lag, now, lead, p, s)
    return economy | processes(lag, now, shock, p) | observables(lag, now, p, s)


def steady_state(p):
    """Zero, but for the constants in what is observed."""
    constants = [*[p.ctrend] * 3, p.constelab, p.constepinf, p.ctrend, derived(p).conster]
    return dict.fromkeys(VARIABLES, 0.0) | dict(zip(OBSERVABLES, constants, strict=True))


# %% Priors: log densities of x, given a mean and a standard deviation
def normal(x, mean, sd):
    return -(((x - mean) / sd) ** 2) / 2 - math.log(sd * math.sqrt(2 * math.pi))


def beta(x, mean, sd):
    t = mean * (1 - mean) / sd**2 - 1
    a, b = mean * t, (1 - mean) * t
    constant = math.lgamma(t) - math.lgamma(a) - math.lgamma(b)
    return constant + (a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x)


def gamma(x, mean, sd):
    shape, scale = (mean / sd) ** 2, sd**2 / mean
    constant = -math.lgamma(shape) - shape * math.log(scale)
    return constant + (shape - 1) * jnp.log(x) - x / scale


def inverse_gamma(x, mean, sd):
    """Type 1: the law of a standard deviation whose square is inverse gamma."""
    scale = lambda nu: (nu - 2) * (mean**2 + sd**2)
    ratio = lambda nu: math.exp(math.lgamma((nu - 1) / 2) - math.lgamma(nu / 2))
    nu = brentq(lambda nu: math.sqrt(scale(nu) / 2) * ratio(nu) - mean, 2 + 1e-9, 100, xtol=1e-14)
    s = scale(nu)
    constant = math.log(2) - math.lgamma(nu / 2) + nu / 2 * math.log(s / 2)
    return constant - (nu + 1) * jnp.log(x) - s / (2 * x**2)


class Prior(NamedTuple):
    """A density by its mean and standard deviation, hard limits, and the published mode."""

    log_density: object
    mean: float
    sd: float
    lower: float
    upper: float
    mode: float


PRIORS = {
    "z_ea": Prior(inverse_gamma, 0.1, 2, 0.01, 3, 0.45178828166212176),
    "z_eb": Prior(inverse_gamma, 0.1, 2, 0.025, 5, 0.24246070101377046),
    "z_eg": Prior(inverse_gamma, 0.1, 2, 0.01, 3, 0.5200103192082884),
    "z_eqs": Prior(inverse_gamma, 0.1, 2, 0.01, 3, 0.45010690608083065),
    "z_em": Prior(inverse_gamma, 0.1, 2, 0.01, 3, 0.23983932548400175),
    "z_epinf": Prior(inverse_gamma, 0.1, 2, 0.01, 3, 0.141123850778673),
    "z_ew": Prior(inverse_gamma, 0.1, 2, 0.01, 3, 0.24439160123349973),
    "crhoa": Prior(beta, 0.5, 0.2, 0.01, 0.9999, 0.9587740953362461),
    "crhob": Prior(beta, 0.5, 0.2, 0.01, 0.9999, 0.18243934512556007),
    "crhog": Prior(beta, 0.5, 0.2, 0.01, 0.9999, 0.9761614150464989),
    "crhoqs": Prior(beta, 0.5, 0.2, 0.01, 0.9999, 0.7095693238736019),
    "crhoms": Prior(beta, 0.5, 0.2, 0.01, 0.9999, 0.1271314763130675),
    "crhopinf": Prior(beta, 0.5, 0.2, 0.01, 0.9999, 0.9038073405580113),
    "crhow": Prior(beta, 0.5, 0.2, 0.001, 0.9999, 0.9718537740244471),
    "cmap": Prior(beta, 0.5, 0.2, 0.01, 0.9999, 0.7448718466831306),
    "cmaw": Prior(beta, 0.5, 0.2, 0.01, 0.9999, 0.8881459266182488),
    "csadjcost": Prior(normal, 4, 1.5, 2, 15, 5.488197009060616),
    "csigma": Prior(normal, 1.5, 0.375, 0.25, 3, 1.3951928979514387),
    "chabb": Prior(beta, 0.7, 0.1, 0.001, 0.99, 0.7124006351787524),
    "cprobw": Prior(beta, 0.5, 0.1, 0.3, 0.95, 0.737541323772002),
    "csigl": Prior(normal, 2, 0.75, 0.25, 10, 1.9198838416864004),
    "cprobp": Prior(beta, 0.5, 0.1, 0.5, 0.95, 0.6562662602975502),
    "cindw": Prior(beta, 0.5, 0.15, 0.01, 0.99, 0.5919983094973862),
    "cindp": Prior(beta, 0.5, 0.15, 0.01, 0.99, 0.22835401911534914),
    "czcap": Prior(beta, 0.5, 0.15, 0.01, 1, 0.5472131292389921),
    "cfc": Prior(normal, 1.25, 0.125, 1, 3, 1.6149795879763305),
    "crpi": Prior(normal, 1.5, 0.25, 1, 3, 2.029467403441132),
    "crr": Prior(beta, 0.75, 0.1, 0.5, 0.975, 0.8153248720213849),
    "cry": Prior(normal, 0.125, 0.05, 0.001, 0.5, 0.08468690532858184),
    "crdy": Prior(normal, 0.125, 0.05, 0.001, 0.5, 0.22292570806394757),
    "constepinf": Prior(gamma, 0.625, 0.1, 0.1, 2, 0.8179822205381722),
    "constebeta": Prior(gamma, 0.25, 0.1, 0.01, 2, 0.16065411471321542),
    "constelab": Prior(normal, 0, 2, -10, 10, -0.10306516698580762),
    "ctrend": Prior(normal, 0.4, 0.1, 0.1, 0.8, 0.43202637481051603),
    "cgy": Prior(normal, 0.5, 0.25, 0.01, 2, 0.5261212194708431),
    "calfa": Prior(normal, 0.3, 0.05, 0.01, 1, 0.19280045641815527),
}
# A pytree of 36 numbers with names, the mode if none are given
Params = namedtuple("Params", PRIORS, defaults=[prior.mode for prior in PRIORS.values()])
LOWER = Params(*[prior.lower for prior in PRIORS.values()])
UPPER = Params(*[prior.upper for prior in PRIORS.values()])


def log_prior(p):
    """The sum of the log densities, not rescaled for the limits; −∞ outside of them."""
    total, inside = 0.0, True
    for x, prior in zip(p, PRIORS.values(), strict=True):
        inside &= (prior.lower <= x) & (x <= prior.upper)
        x_inside = jnp.clip(x, prior.lower, prior.upper)
        total += prior.log_density(x_inside, prior.mean, prior.sd)
    return jnp.where(inside, total, -jnp.inf)
