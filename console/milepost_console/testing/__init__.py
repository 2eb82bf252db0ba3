"""The test harness that users import as `milepost.testing`."""
