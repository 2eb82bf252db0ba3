"""The version of the SDK, as told to servers."""

VERSION = "0.1.0"
