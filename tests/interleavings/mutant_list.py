"""The rules that `mutants.py` takes out, the text in the engine that upholds each, and a test that fails without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MUTANTS", "Mutant"]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old`, which is found once in `file` of the engine, is replaced by `new`.

    `shown_by`: the test that is known to fail then, as `node_of` of `mutants.py` reads it.
    """

    rule: str
    file: str
    old: str
    new: str
    shown_by: str


_STORE: Final = "store/runs.py"
_ORCHESTRATOR: Final = "runs/orchestrator.py"
_OWNERSHIP: Final = "runs/ownership.py"
_INPUTS: Final = "runs/message_inputs.py"
_SWEEPER: Final = "runs/sweeper.py"
_ACTING: Final = "runs/acting.py"
_REPORTS: Final = "runs/reports.py"
_CHECKPOINTS: Final = "runs/checkpoints.py"

_RUN_CLAIMS: Final = "tests/engine/test_run_claims.py::"
_YOUNG_CLAIMS: Final = "tests/engine/test_young_claims.py::"
_JOINING: Final = "tests/engine/test_joining.py::"
_SESSIONS: Final = "tests/engine/test_checkpoint_sessions.py::"

MUTANTS: Final = (
    Mutant(
        "only one message gets the claim on a run",
        _STORE,
        "AllOf((_LIVE, AnyOf(tuple(ways)), known))",
        "AllOf((_LIVE, known))",
        "sequence-twice",
    ),
    Mutant(
        "a run that has ended is not claimed",
        _STORE,
        "AllOf((_LIVE, AnyOf(tuple(ways)), known))",
        "AllOf((AnyOf(tuple(ways)), known))",
        _RUN_CLAIMS + "test_nobody_claims_a_run_that_has_ended",
    ),
    Mutant(
        "a claim does not ignore what was planned",
        _STORE,
        "AllOf((_LIVE, AnyOf(tuple(ways)), known))",
        "AllOf((_LIVE, AnyOf(tuple(ways))))",
        _RUN_CLAIMS + "test_nobody_claims_a_run_of_which_it_does_not_know_what_was_planned",
    ),
    Mutant(
        "one position is claimed once",
        _STORE,
        'LessThan("position", position)',
        'LessThan("position", position + 1)',
        "join2-none",
    ),
    Mutant(
        "a redelivered message claims again what it has claimed",
        _STORE,
        'if mine := _made_before(run, claimant, "claimed_by"):',
        "if mine := ():",
        _RUN_CLAIMS + "test_only_a_redelivered_message_gets_again_what_it_has_claimed[True-mine]",
    ),
    Mutant(
        "only the message that made a claim gets it again",
        _STORE,
        "    mine = Equals(by, claimant.message_id)\n",
        "    mine = LessThan(by, chr(0x10FFFF))\n",
        _RUN_CLAIMS + "test_only_a_redelivered_message_gets_again_what_it_has_claimed[True-mine]",
    ),
    Mutant(
        "only a redelivered message gets its claim again",
        _STORE,
        "    if not (claimant.redelivered and claimant.message_id):\n        return ()\n    mine",
        "    if not claimant.message_id:\n        return ()\n    mine",
        _RUN_CLAIMS + "test_only_a_redelivered_message_gets_again_what_it_has_claimed[False-lost]",
    ),
    Mutant(
        "a successor of the owner gets its claim",
        _STORE,
        'ways.append(Equals("owner", claimant.succeeds))\n        known',
        "pass\n        known",
        _RUN_CLAIMS + "test_the_successor_of_the_owner_gets_the_claim_and_no_other",
    ),
    Mutant(
        "who closed a step gives way to whoever has seen it",
        _ORCHESTRATOR,
        "closed = lease.closed and closed_unseen(run, lease.message.message_id)",
        "closed = lease.closed",
        "step_beside_wait-none",
    ),
    Mutant(
        "the run is read again after a claim",
        _ORCHESTRATOR,
        "if lease.redelivered or lease.sweeps or lease.joins:",
        "if False:",
        "sequence-again",
    ),
    Mutant(
        "the run is read again after a claim by a redelivered message",
        _ORCHESTRATOR,
        "if lease.redelivered or lease.sweeps or lease.joins:",
        "if lease.sweeps or lease.joins:",
        "sequence-again",
    ),
    Mutant(
        "a claim that does not stand when the run is read again is asked for anew",
        _OWNERSHIP,
        "if invoke.job != self.claimed_for[0]:",
        "if False:",
        "sleep_step-again",
    ),
    Mutant(
        "who has closed a parallel step claims before the next discovery",
        _ORCHESTRATOR,
        'lease.closed, lease.claim = True, ""',
        "lease.closed = True",
        "step_beside_nap-none",
    ),
    Mutant(
        "only one message gets the claim on a step",
        _STORE,
        "await self._table.put(item, AnyOf(tuple(ways)))",
        "await self._table.put(item)",
        "join2-twice",
    ),
    Mutant(
        "a redelivered message claims its step again",
        _STORE,
        'if mine := _made_before(run, claimant, "by"):',
        "if mine := ():",
        "one_branch-crash",
    ),
    Mutant(
        "after a claim that somebody had before, the step is looked at once more",
        _ORCHESTRATOR,
        "lease.fresh = lease.fresh and not lease.redelivered and invoke.attempt == 0 and not lease.sweeps",
        "pass",
        "one_branch-again",
    ),
    Mutant(
        "the retry of a step is a message of its own",
        _ACTING,
        "if len(due) == 1 and not lease.has_called(due[0].job) else None",
        "if len(due) == 1 else None",
        "retry_beside_nap-crash",
    ),
    Mutant(
        "the owner is read before each discovery",
        _ORCHESTRATOR,
        "return liveness.owner != (lease.claim or run.owner)",
        "return False",
        "sequence-again",
    ),
    Mutant(
        "the owner is compared after a peek",
        _ORCHESTRATOR,
        "return None if peeks and (after is None or after.owner != owner) else answer",
        "return answer",
        _RUN_CLAIMS + "test_the_failure_of_a_peek_costs_no_attempt_when_the_run_has_changed_hands_meanwhile",
    ),
    Mutant(
        "a peek's plan is saved only while the owner is the same",
        _STORE,
        "AllOf((_LIVE, _still(run))))",
        "_LIVE)",
        "step_beside_wait-none",
    ),
    Mutant(
        "no call is made for a step that is closed",
        _ORCHESTRATOR,
        "if liveness.closed:",
        "if False:",
        "one_branch-again",
    ),
    Mutant(
        "no call is made for a run that has ended",
        _ORCHESTRATOR,
        "if liveness is None or liveness.status.ended:",
        "if liveness is None:",
        "sequence_cancel-none",
    ),
    Mutant(
        "only the owner ends a run",
        _STORE,
        'await self._end(run, record, Equals("owner", owner) if owner else None)',
        "await self._end(run, record, None)",
        _JOINING + "test_a_worker_that_has_lost_the_run_cannot_end_it",
    ),
    Mutant(
        "a run ends once",
        _STORE,
        "conditions = (_LIVE,) if owned is None else (_LIVE, owned)",
        "conditions = () if owned is None else (owned,)",
        "sequence_cancel-none",
    ),
    Mutant(
        "a checkpoint is refused when the run has another owner",
        _CHECKPOINTS,
        "return CheckpointRefusal.STALE if liveness.owner != self.owner else _ended(liveness.status)",
        "return _ended(liveness.status)",
        _SESSIONS + "test_a_session_is_stale_from_when_the_run_has_another_owner",
    ),
    Mutant(
        "a redelivered message finishes what its records led to",
        _OWNERSHIP,
        "(Part.AGAIN, Saved.NOTHING): Next.OWED",
        "(Part.AGAIN, Saved.NOTHING): Next.END",
        "sequence-crash",
    ),
    Mutant(
        "an owner whose record stood reads the run again",
        _OWNERSHIP,
        "(Part.OWNER, Saved.STOOD): Next.READ_AGAIN",
        "(Part.OWNER, Saved.STOOD): Next.END",
        "wait_timeout-again",
    ),
    Mutant(
        "the last of two branches learns that the other is closed",
        _ORCHESTRATOR,
        "undisturbed = not await self._meet(lease.live) and undisturbed",
        "pass",
        "join2-none",
    ),
    Mutant(
        "a call that was handed over begins once",
        _STORE,
        'return (standing.existing or {}).get("by") == invocation',
        "return True",
        _RUN_CLAIMS + "test_a_call_that_was_handed_over_begins_once_or_is_withdrawn_for_good",
    ),
    Mutant(
        "a call that has begun is not withdrawn",
        _STORE,
        'return "withdrawn" in (standing.existing or {})',
        "return True",
        "sequence_reported-again",
    ),
    Mutant(
        "a call that is withdrawn stays so",
        _STORE,
        'return "withdrawn" in (standing.existing or {})',
        "return False",
        _RUN_CLAIMS + "test_a_call_that_was_handed_over_begins_once_or_is_withdrawn_for_good",
    ),
    Mutant(
        "a redelivered message withdraws the call of its discovery",
        _ORCHESTRATOR,
        "if again and not await self.acting.withdraws(lease, run, run.owner):",
        "if False:",
        "sequence_reported-crash",
    ),
    Mutant(
        "a redelivered message withdraws the call of its step",
        _ORCHESTRATOR,
        "if known is not None and again and not await self.acting.withdraws(lease, run, known.owner):",
        "if False:",
        "one_branch_reported-crash",
    ),
    Mutant(
        "who asks for another message withdraws its call",
        _ACTING,
        'if not (lease.redelivered and run.target.get("reports")) or lease.withdrawn == claim:',
        "if True:",
        "one_branch_reported-crash",
    ),
    Mutant(
        "a call that was overtaken continues the run",
        _REPORTS,
        "return not run.status.ended and token.discovers and token.owner == run.owner",
        "return False",
        "sequence_reported-lost",
    ),
    Mutant(
        "a report that was overtaken continues the run",
        _INPUTS,
        'return RunResumed("") if overtaken(run, report.token) else None',
        "return None",
        "sequence_reported-lost",
    ),
    Mutant(
        "a message that was overtaken continues the run",
        _INPUTS,
        "if run.view.open or current else None",
        "if run.view.open else None",
        _RUN_CLAIMS + "test_a_message_for_a_discovery_that_was_recorded_meanwhile_continues_the_run_under_its_claim",
    ),
    Mutant(
        "a peek's plan of nothing makes no handed-over answer late",
        _STORE,
        'if peeked and isinstance(record, Plan) and (record.ops or decision.run.target.get("reports")):',
        "if peeked and isinstance(record, Plan) and record.ops:",
        "join2_reported-none",
    ),
    Mutant(
        "a claim is a trace of life",
        _SWEEPER,
        "*([run.claimed_at] if run.claimed_at else []),",
        "",
        _YOUNG_CLAIMS + "test_a_run_that_was_claimed_lately_is_not_overdue",
    ),
    Mutant(
        "the sweeper leaves a step alone whose call may be under way",
        _ORCHESTRATOR,
        "if known is not None and lease.sweeps and may_be_at_work(run, known, now):",
        "if False:",
        _YOUNG_CLAIMS + "test_the_sweeper_takes_a_step_over_once_its_worker_must_be_gone_and_no_earlier[a]",
    ),
    Mutant(
        "the sweeper sends no message for a step whose call may be under way",
        _ACTING,
        "return None if may_be_at_work(run, claim, self.clock.now()) else claim.owner",
        "return claim.owner",
        _YOUNG_CLAIMS + "test_the_sweeper_takes_a_step_over_once_its_worker_must_be_gone_and_no_earlier[ab]",
    ),
    Mutant(
        "the sweeper leaves a run alone that its own process handles",
        _INPUTS,
        "if lease.live.at_work:",
        "if False:",
        "sleep_watched-none",
    ),
    Mutant(
        "the sweeper takes over from a worker that is gone",
        _OWNERSHIP,
        "case WatchRun() if self.sweeps:",
        "case WatchRun() if False:",
        "sequence_watched-dropped",
    ),
    Mutant(
        "a peek ends a run only while the owner is the same",
        _STORE,
        "await self._end(decision.run, record, _still(decision.run))",
        "await self._end(decision.run, record, None)",
        _JOINING + "test_a_peek_is_made_anew_when_the_run_changes_hands_before_its_end_is_written[True]",
    ),
)
