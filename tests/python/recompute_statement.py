"""Recomputes a privacy statement with dp-accounting, a library by other authors.

    python recompute_statement.py privacy-statement.json

Everything is derived again from the release parameters: scale, sensitivity, noise share, and for each
adversary the noise multiplier with the shares that it does not know. Epsilon by Renyi accounting at
the statement's integer orders must agree within 1 %. Prints one line for each adversary; exit status
1 if one disagrees. Shares no code with the programs that write statements.
"""

import json
import math
import sys

import dp_accounting
from dp_accounting import rdp

AGREEMENT = 0.01


def float_error(parameters):
    """The larger of the declared bound and that of a plain double-precision sum."""
    terms = parameters["max_units_per_node"]
    gamma = terms * 2.0**-53 / (1 - terms * 2.0**-53)
    rotation = 1e-6 if parameters.get("compact") else 0.0
    return max(parameters["float_error"], 2 * terms * gamma) + rotation


def noise(release):
    """Sensitivity and one node's noise share, from the parameters alone."""
    p = release["parameters"]
    root = math.sqrt(p["dimension"])
    compact = p.get("compact")
    scale = (compact["resolution"] if compact else 100) * root / p["clip_norm"]
    unit = scale * p["clip_norm"] * (1 + float_error(p))
    sensitivity = unit + root
    if compact:
        # Rounding adds this much at most, but for a chance of beta = 1e-15.
        mean = unit + root / 2**16
        tail = math.sqrt(2 * math.log(1e15)) * (mean + root / 2)
        sensitivity = min(sensitivity, math.sqrt(mean**2 + root**2 / 4 + tail))
    honest = p["min_survivors"] - max(1, p["colluders"])
    share = max(3.0, p["noise_multiplier"] * sensitivity / math.sqrt(honest))
    return sensitivity, share


def shares(adversary, parameters):
    """Noise shares in the sum that the adversary does not know."""
    return {
        "public": parameters["cohort"],
        "aggregator": parameters["min_survivors"],
        "colluders": parameters["min_survivors"] - max(1, parameters["colluders"]),
        "everybody-else": 1,
    }[adversary]


def epsilon(claims, adversary):
    accountant = rdp.RdpAccountant(claims["orders"])
    for entry in claims["releases"]:
        parameters = entry["release"]["parameters"]
        sensitivity, share = noise(entry["release"])
        known = shares(adversary, parameters)
        event = dp_accounting.GaussianDpEvent(share * math.sqrt(known) / sensitivity)
        if parameters["sampling_rate"] < 1:
            event = dp_accounting.PoissonSampledDpEvent(parameters["sampling_rate"], event)
        accountant.compose(event, entry["count"])
    return accountant.get_epsilon(claims["delta"])


def main(path):
    with open(path, encoding="utf-8") as file:
        statement = json.load(file)
    claims = statement["claims"]
    if claims is None:
        print("mode none: there is nothing to recompute")
        return 0
    wrong = 0
    for claim in claims["adversaries"]:
        name, guarantee = claim["adversary"], claim["guarantee"]
        recomputed = epsilon(claims, name)
        if guarantee is None:
            print(f"{name}: none stated, recomputed {recomputed:.6f}")
            continue
        stated = guarantee["epsilon"]["epsilon"]
        agrees = abs(stated / recomputed - 1) <= AGREEMENT
        print(f"{name}: stated {stated:.6f}, recomputed {recomputed:.6f}, {'agrees' if agrees else 'DISAGREES'}")
        wrong += not agrees
        if name == "colluders" and claims["epsilon"] != stated:
            print(f"epsilon: the statement says {claims['epsilon']}, its own table {stated}")
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: recompute_statement.py STATEMENT.json")
    sys.exit(main(sys.argv[1]))
