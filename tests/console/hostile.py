"""An app whose names, errors, results and log lines try to leave the place where they are shown."""

from __future__ import annotations

from milepost import App, Context, Event, NonRetriableError, StepError

MARKUP = '"><img src=x onerror="window.__x=1"><script>window.__x=1</script>[red]'
FORGED = "12:00:00.000  forged-function           ABCDEF  ✓ charge card"
ESCAPES = "\x1b[38;5;201m\x1b]0;TITLE\x07\x1b[2J\x1b[H\x9b31m\x7f\b"
HIDDEN = "\u202egnp.exe\u2066\u200b\ufeff\U000e0041"
LINES = f"\r\n{FORGED}\n{FORGED}\u2028{FORGED}\x85{FORGED}"
HOSTILE = MARKUP + ESCAPES + HIDDEN + LINES

app = App("hostile")


def bad() -> None:
    raise ValueError(HOSTILE)


@app.function(id="x", name=HOSTILE, trigger=Event("hostile"), retries=0)
async def x(ctx: Context) -> None:
    ctx.logger.warning(HOSTILE)
    await ctx.step.run(HOSTILE[:900], lambda: {HOSTILE: HOSTILE})
    try:
        await ctx.step.run("bad" + HOSTILE[:900], bad)
    except StepError:
        ctx.logger.exception(HOSTILE)
    await ctx.step.wait_for_event("wait" + HOSTILE[:900], "never" + HOSTILE, timeout="1ms")
    raise NonRetriableError(HOSTILE)
