"""Rounds of ten clients in Flower's Ray simulation, with SecAgg+ or without.

    flower_round.py D SECAGG ROUNDS

D float32 parameters; SECAGG is 1 for SecAgg+ (10 shares, threshold 7) or 0 for plain averaging.
One round's fit is timed inside the server app, after a short warm-up round on the same workers:
starting Ray and importing modules are not in it. Each client takes one core.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Before the imports, which read them; the workers inherit them.
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [HERE, os.environ.get("PYTHONPATH")])
)
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from flwr.simulation import run_simulation  # noqa: E402

import flower_app  # noqa: E402
import measure  # noqa: E402


def main(d, secagg, rounds):
    result = {}
    with measure.PeakMemory() as memory:
        run_simulation(
            server_app=flower_app.server_app(d, secagg, rounds, result),
            client_app=flower_app.client_app(secagg),
            num_supernodes=flower_app.CLIENTS,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        )
    if "round_s" not in result:
        sys.exit("the simulation ended without a result; its log above says why")
    measure.emit(
        bench="flower_round",
        nodes=flower_app.CLIENTS,
        dim=d,
        secagg=bool(secagg),
        round_s=measure.summary(result["round_s"]),
        rounds_s=[round(seconds, 4) for seconds in result["round_s"]],
        warm_up_s=round(result["warm_up_s"][0], 3),
        max_abs_error=result["max_abs_error"],
        server_peak_rss_bytes=measure.own_peak_bytes(),
        tree_peak_rss_bytes=memory.peak_bytes,
        transport="in-process-ray",
        versions=measure.versions("flwr", "ray", "numpy"),
    )


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*(int(word) for word in sys.argv[1:]))
