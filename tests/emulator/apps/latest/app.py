"""An app whose runs continue with the newest code (`versioning="latest"`)."""

from __future__ import annotations

import os
from datetime import timedelta

from milepost import App, Context

REVISION = os.environ.get("REVISION", "")

app = App("latest")


@app.function(id="deploy-meanwhile", trigger="trial/deploy")
async def deploy_meanwhile(ctx: Context) -> list[str]:
    before = await ctx.step.run("before", lambda: REVISION)
    await ctx.step.wait_for_event("go", "trial/go", timeout=timedelta(minutes=5), match="data.name")
    after = await ctx.step.run("after", lambda: REVISION)
    return [before, after]
