"""A whole node: which message is due when, repetitions, contradictions, and the end."""

from attempt import Attempt
from codec import SERVER, Malformed
from context import Refused, need
from epoch import Setup

# The phases of a set-up and of an attempt: what is due, who takes it.
SETUP = [("EpochHellos", Setup.on_hellos), ("EpochPeers", Setup.on_peers),
         ("EpochKems", Setup.on_kems)]
ATTEMPT = [
    ("ShareRelay", Attempt.on_relay), ("UploadGrant", Attempt.on_grant),
    ("SurvivorManifest", Attempt.on_manifest), ("SurvivorQc", Attempt.on_quorum),
    ("RoundResult", Attempt.on_result), ("ResultQc", Attempt.on_certificate),
]
# Where turns and pieces of the sum come late, which changes nothing.
LATE = {"UploadTurn": [ATTEMPT[3:], ATTEMPT[4:], ATTEMPT[5:]], "SumChunk": [ATTEMPT[5:]]}


class Node:
    """Takes frames of the aggregator, gives frames back, and notes what came of it.

    `plan` maps (round, attempt) to this node's own view and vector.
    """

    def __init__(self, seat, plan: dict, most_attempts: int, state_of):
        self.seat, self.plan, self.most, self.state_of = seat, plan, most_attempts, state_of
        self.codec = seat.roster.codec
        self.chains, self.machine, self.due, self.seen = None, None, [], {}
        self.epoch = (0, -1)
        self.notes = []

    def take(self, frame: bytes) -> list[bytes]:
        """The answers to one frame."""
        try:
            message = self.codec.decode(frame, SERVER)
            answers = self.step(message, frame)
        except (Refused, Malformed) as why:
            self.note("refused", why)
            self.machine = None
            return []
        return [self.codec.encode(answer) for answer in answers]

    def note(self, *words):
        self.notes.append(" ".join(str(word) for word in words))

    def step(self, message, frame):
        kind = message["kind"]
        if kind == "EpochStart":
            return self.start_epoch(message)
        if kind == "RoundStart":
            return self.start_attempt(message, frame)
        machine = self.machine
        need(machine is not None, f"a {kind} where nothing is open")
        need(message["context"] == machine.context, f"a {kind} of another context")
        if kind == "UploadTurn":
            if self.due in LATE[kind]:
                return []
            need(self.due == ATTEMPT[2:], "a turn before the grant")
            return machine.on_turn(message)
        if kind == "SumChunk":
            if self.due in LATE[kind]:
                return []
            need(self.due == ATTEMPT[4:], "a piece of the sum out of turn")
            return machine.on_sum_chunk(message)
        if kind in self.seen:
            need(self.seen[kind] == frame, f"two different {kind} messages")
            return []
        self.seen[kind] = frame
        if kind == "Abort":
            need(self.seat.roster.signed_by_aggregator(message), "an abort with a bad signature")
            self.note("aborted", message["reason"])
            self.machine = None
            return []
        need(self.due and self.due[0][0] == kind, f"a {kind} out of turn")
        handler, self.due = self.due[0][1], self.due[1:]
        answers = handler(machine, message)
        self.after(machine)
        return answers

    def start_epoch(self, message):
        asked = message["epoch"], message["restart"]
        need(asked > self.epoch, "an epoch that is past")
        setup = Setup(self.seat)
        answers = setup.start(message)
        self.epoch, self.machine, self.due, self.seen = asked, setup, SETUP, {}
        return answers

    def start_attempt(self, message, frame):
        if self.seen.get("RoundStart") == frame:
            return []
        need(self.chains, "a round without an epoch")
        at = message["round"], message["attempt"]
        need(at in self.plan, "a round that this node knows nothing of")
        view, vector = self.plan[at]
        machine = Attempt(self.seat, self.chains, view, vector, self.most, self.state_of)
        answers = machine.start(message)
        self.machine, self.due, self.seen = machine, ATTEMPT, {"RoundStart": frame}
        return answers

    def after(self, machine):
        """Notes what a step brought about."""
        if isinstance(machine, Setup):
            if machine.chains:
                self.chains, self.machine = machine.chains, None
            return
        if machine.complained:
            self.note("complained", *sorted(machine.complained))
            machine.complained = frozenset()
        if machine.stopped:
            self.note("stopped", machine.stopped)
            self.machine = None
        if machine.certificate:
            self.note("certified", machine.certificate.hex())
            self.machine = None
