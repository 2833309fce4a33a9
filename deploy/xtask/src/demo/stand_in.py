"""Stand-in for `aggregator`, `agency-node` and `simulate` in the demo's own tests.

Keeps their command lines, exit codes and files, and trains nothing. What it is asked to do it
notes in a file beside itself. FAULT makes one thing go wrong.
"""
import json
import os
import signal
import socket
import sys
import threading
import time

FAULT = ""
HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = os.path.basename(__file__)
ARGS = sys.argv[1:]


def option(name):
    return ARGS[ARGS.index(name) + 1]


def note(text):
    with open(os.path.join(HERE, "notes"), "a") as notes:
        notes.write(text + "\n")


def fail(text):
    print(text, file=sys.stderr)
    sys.exit(1)


def put(folder, name, text=""):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w") as file:
        file.write(text)


def until_term(what, pid_file=os.devnull):
    """Serves until SIGTERM, then ends with 0."""
    def end(*_):
        note(what + " down")
        os._exit(3 if FAULT == "unclean end" else 0)
    signal.signal(signal.SIGTERM, end)
    note(what + " up")
    with open(pid_file, "w") as file:
        file.write(str(os.getpid()))
    while True:
        time.sleep(0.02)


def nodes(folder):
    """Whether every node has served at some time, and whether every one is alive now."""
    pids = [os.path.join(folder, agency, "pid") for agency in os.listdir(folder)]
    if not all(os.path.exists(pid) and os.path.getsize(pid) for pid in pids):
        return False, False
    try:
        for pid in pids:
            os.kill(int(open(pid).read()), 0)
    except ProcessLookupError:
        return True, False
    return True, True


def aggregator():
    home = option("--data-dir")
    command = " ".join(ARGS[:2])
    if ARGS[0] == "init":
        put(home, "listen", option("--listen"))
    elif ARGS[0] == "serve":
        host, port = open(os.path.join(home, "listen")).read().split(":")
        server = socket.create_server((host, int(port)))

        def accept():
            while True:
                server.accept()[0].close()
        threading.Thread(target=accept, daemon=True).start()
        until_term("aggregator")
    elif command == "enrol token":
        note("token " + option("--agency"))
        print("a one-time token follows\ntoken-for-" + option("--agency"))
    elif command == "job submit":
        put(home, "polls", "0")
        print("4fe1")
    elif command == "job status":
        polls = int(open(os.path.join(home, "polls")).read())
        served, alive = nodes(os.path.join(os.path.dirname(home), "nodes"))
        put(home, "polls", str(polls + served))
        done = min(20 if alive else 15, polls * 5)
        state = "failed" if FAULT == "job fails" else "done" if done == 20 else "training"
        reason = "quorum lost" if state == "failed" else ""
        print(json.dumps({"state": state, "round": done, "rounds": 20, "attempt": 0,
                          "survivors_last": ["ua", "b6"], "reason": reason}))
    elif command == "job export":
        put(option("--out"), "record")
    else:
        fail("unknown command")


def node():
    if " ".join(ARGS) == "policy example":
        print("min_survivors = 5")
        return
    home = option("--data-dir")
    agency = os.path.basename(home)
    if ARGS[0] == "enrol":
        if FAULT == "token refused":
            fail("token expired")
        path = option("--token-file")
        assert os.stat(path).st_mode & 0o077 == 0, "the token is readable by others"
        assert open(path).read().strip() == "token-for-" + agency
        assert option("--aggregator").startswith("https://127.0.0.1:")
        put(home, "key")
        note("enrolled " + agency)
    elif " ".join(ARGS[:2]) == "peers fingerprint":
        print(agency + " fingerprint-of-" + agency)
    elif " ".join(ARGS[:2]) == "peers import":
        lines = open(ARGS[-1]).read().split("\n")
        assert agency + " fingerprint-of-" + agency in lines, "a list without this agency"
        note("pinned " + agency)
    elif " ".join(ARGS[:2]) == "dataset add":
        assert os.path.isfile(option("--path"))
        note("dataset " + option("--name"))
    elif ARGS[0] == "serve":
        assert option("--trainer") == "reference"
        assert os.path.isfile(os.path.join(home, "policy.toml")), "no policy, no work"
        if FAULT == "node dies" and agency == "ev":
            fail("budget exhausted")
        until_term("node " + agency, os.path.join(home, "pid"))
    else:
        fail("unknown command")


def simulate():
    out = option("--out")
    assert os.path.isfile(os.path.join(option("--run"), "record"))
    assert "train" in json.load(open(option("--timings")))
    names = ["ua", "b6", "ev", "dl", "aa"]
    summary = {"agencies": names, "rounds": 20, "survivors": [names] * 20, "test_auc": 0.7,
               "test_accuracy": 0.7, "pooled_test_auc": 0.71, "silo_test_auc": {"ua": 0.6},
               "epsilon": 1.9, "delta": 1e-6, "mode": "record", "bytes_up_per_parameter": 4.0}
    put(out, "summary.json", json.dumps(summary))
    for name in ["model.safetensors", "privacy-statement.json", "rounds.jsonl", "report.html"]:
        if not (FAULT == "no report" and name == "report.html"):
            put(out, name)


{"aggregator": aggregator, "agency-node": node, "simulate": simulate}[PROGRAM]()
