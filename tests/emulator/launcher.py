"""Starts the emulator with its clocks quickened. Runs in the emulator's own venv: nothing of this project is imported.

Two waits of the emulator have no setting: its sweep for scheduled rules (10 s) and, after each invocation, its wait for
a log line that quiet handlers never write (50 ms and 100 ms).
"""

from ministack import app
from ministack.core import lambda_runtime
from ministack.services import eventbridge, scheduler

SWEEP_SECONDS = 0.25
LOG_WAIT_SECONDS = 0.003

scheduler._SCHEDULE_TICK_INTERVAL = SWEEP_SECONDS
eventbridge._SCHEDULER_TICK_INTERVAL = SWEEP_SECONDS
for worker in vars(lambda_runtime).values():
    drain = getattr(worker, "_drain_stderr_bounded", None)
    if isinstance(worker, type) and drain is not None:

        def quick(self, *_args, drain=drain, **_named):
            return drain(self, first_line_wait=LOG_WAIT_SECONDS)

        worker._drain_stderr_bounded = quick

app.main()
