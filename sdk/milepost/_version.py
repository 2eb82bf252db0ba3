"""The version of the SDK, as sent to servers."""

VERSION = "0.1.0"

SDK_NAME = f"milepost:v{VERSION}"
"""The SDK's name in the header `x-inngest-sdk`."""
