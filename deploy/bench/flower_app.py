"""The Flower apps that `flower_round.py` runs: clients that add a constant, a server that times.

A module of its own because Ray's workers import it by name.

SecAgg+ exists only for Flower's older workflow interface, so the server uses that one with and
without it.
"""

import time

import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import LegacyContext, ServerApp, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.server.workflow.default_workflows import default_fit_workflow

CLIENTS = 10
SHARES = 10
THRESHOLD = 7
# What every client adds to every parameter in a round.
STEP = 0.01
# Far above the error of quantisation (about 5e-5 after three rounds): beyond it the sum is wrong.
TOLERANCE = 1e-3
WARM_UP_D = 1000
STAGE_LIMIT_S = 600.0


class AddConstant(NumPyClient):
    """No training, so that the system's own cost is what is left."""

    def fit(self, parameters, config):
        return [array + np.float32(STEP) for array in parameters], 100, {}


def start_client(_context):
    return AddConstant().to_client()


def client_app(secagg):
    """The clients, with Flower's SecAgg+ around them or without."""
    return ClientApp(client_fn=start_client, mods=[secaggplus_mod] if secagg else [])


class Checked(FedAvg):
    """Federated averaging that remembers what each round had."""

    def __init__(self, d):
        super().__init__(
            fraction_fit=1.0,
            fraction_evaluate=0.0,
            min_fit_clients=CLIENTS,
            min_available_clients=CLIENTS,
            initial_parameters=ndarrays_to_parameters([np.zeros(d, dtype=np.float32)]),
        )
        self.latest = None
        self.complete_rounds = 0

    def aggregate_fit(self, server_round, results, failures):
        aggregate = super().aggregate_fit(server_round, results, failures)
        self.latest = aggregate[0]
        if len(results) == CLIENTS and not failures and self.latest is not None:
            self.complete_rounds += 1
        return aggregate


def server_app(d, secagg, rounds, result):
    """A server that does one warm-up round of a short vector and `rounds` timed ones.

    Fills the dictionary `result` with `warm_up_s`, `round_s` and `max_abs_error`.
    """
    app = ServerApp()

    @app.main()
    def main(grid, context):
        result["warm_up_s"], _ = train(grid, context, WARM_UP_D, secagg, 1)
        result["round_s"], result["max_abs_error"] = train(grid, context, d, secagg, rounds)

    return app


def train(grid, context, d, secagg, rounds):
    """Seconds of each round's fit, and the largest error of the last aggregate."""
    fit = default_fit_workflow
    if secagg:
        fit = SecAggPlusWorkflow(SHARES, THRESHOLD, timeout=STAGE_LIMIT_S)
    times = []

    def timed_fit(grid, context):
        start = time.perf_counter()
        fit(grid, context)
        times.append(time.perf_counter() - start)

    strategy = Checked(d)
    config = ServerConfig(num_rounds=rounds)
    legacy = LegacyContext(context=context, config=config, strategy=strategy)
    DefaultWorkflow(fit_workflow=timed_fit)(grid, legacy)
    if strategy.complete_rounds != rounds:
        done = strategy.complete_rounds
        raise RuntimeError(f"only {done} of {rounds} rounds had all {CLIENTS} clients")
    sums = parameters_to_ndarrays(strategy.latest)[0]
    error = float(np.abs(sums - STEP * rounds).max())
    if not error < TOLERANCE:
        raise RuntimeError(f"the aggregate is off by {error}: this was no correct round")
    return times, error
