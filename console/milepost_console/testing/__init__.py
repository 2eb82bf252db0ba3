"""The test harness that users import as `milepost.testing`. Empty: pytest loads the fixtures in every run."""
