"""What one node of Flower's SecAgg+ computes: quantise a vector, then add its masks.

    flower_node.py D K REPEATS

D float32 parameters, one private mask and K pairwise masks, on one thread. The calls are those
of the second stage of Flower's `secaggplus_mod`, in its order and with the defaults of
`SecAggPlusWorkflow`. Key agreement, shares, serialisation and sending are left out.
"""

import os
import sys
import time

import numpy as np
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    factor_combine,
    parameters_addition,
    parameters_mod,
    parameters_multiply,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

import measure

# Defaults of SecAggPlusWorkflow in Flower 1.41.
CLIPPING_RANGE = 8.0
TARGET_RANGE = 1 << 22
MODULUS = 1 << 32
MAX_WEIGHT = 1000.0
# Examples that the node claims to have: its weight relative to MAX_WEIGHT.
EXAMPLES = 100


def quantised(vector):
    """Weights, clips and rounds the vector; the weight itself goes in front."""
    weight = round(EXAMPLES / MAX_WEIGHT * TARGET_RANGE)
    weighted = parameters_multiply([vector], weight / TARGET_RANGE)
    return factor_combine(weight, quantize(weighted, CLIPPING_RANGE, TARGET_RANGE))


def masked(arrays, peers):
    """Adds the private mask and one mask for each peer, half of them negative."""
    shapes = [array.shape for array in arrays]
    arrays = parameters_addition(arrays, pseudo_rand_gen(os.urandom(32), MODULUS, shapes))
    for peer in range(peers):
        mask = pseudo_rand_gen(os.urandom(32), MODULUS, shapes)
        combine = parameters_addition if peer % 2 == 0 else parameters_subtraction
        arrays = combine(arrays, mask)
    return parameters_mod(arrays, MODULUS)


def main(d, peers, repeats):
    vector = np.random.default_rng(0).standard_normal(d, dtype=np.float32)
    quantise_s, mask_s, total_s = [], [], []
    for _ in range(repeats):
        start = time.perf_counter()
        arrays = quantised(vector)
        between = time.perf_counter()
        arrays = masked(arrays, peers)
        end = time.perf_counter()
        quantise_s.append(between - start)
        mask_s.append(end - between)
        total_s.append(end - start)
    per_mask = measure.summary(mask_s)["median"] / d / (peers + 1)
    measure.emit(
        bench="flower_node",
        d=d,
        masks=peers,
        quantise_s=measure.summary(quantise_s),
        mask_s=measure.summary(mask_s),
        total_s=measure.summary(total_s),
        ns_per_parameter_and_mask=round(per_mask * 1e9, 3),
        wire_bytes_per_parameter=arrays[-1].itemsize,
        peak_rss_bytes=measure.own_peak_bytes(),
        versions=measure.versions("flwr", "numpy"),
    )


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*(int(word) for word in sys.argv[1:]))
