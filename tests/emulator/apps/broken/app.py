"""An app that cannot be registered: what it asks for is not there yet."""

from milepost import App, Context

app = App("broken")


@app.function(id="throttled", trigger="broken/sent", throttle={"limit": 1, "period": "1m"})  # type: ignore[call-overload]
async def throttled(ctx: Context) -> None: ...
