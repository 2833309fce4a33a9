"""Parses OpenMetrics text from standard input with the reference parser.

Prints one JSON object: for every sample its name, labels and value. Fails where the text breaks the
format.
"""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families


def main() -> None:
    families = text_string_to_metric_families(sys.stdin.read())
    samples = [
        {"name": sample.name, "labels": sample.labels, "value": sample.value}
        for family in families
        for sample in family.samples
    ]
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    main()
