"""The version of the SDK, as told to servers."""

VERSION = "0.1.0"

SDK_NAME = f"milepost:v{VERSION}"
"""How the SDK names itself in the header `x-inngest-sdk`."""
