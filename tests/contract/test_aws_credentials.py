"""Credentials come from the environment where Lambda puts them, without botocore; from botocore everywhere else."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from milepost_engine.adapters.aws.client import _certificates
from milepost_engine.adapters.aws.credentials import GivenCredentials, find_credentials

GIVEN = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret"}


def test_the_environments_credentials_are_taken_with_their_token():
    assert find_credentials(GIVEN) == GivenCredentials("AKIA", "secret")
    found = find_credentials(GIVEN | {"AWS_SESSION_TOKEN": "token"}).get_frozen_credentials()
    assert (found.access_key, found.secret_key, found.token) == ("AKIA", "secret", "token")


def test_credentials_of_a_profile_are_botocores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = PROFILE\naws_secret_access_key = s\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert find_credentials({}).get_frozen_credentials().access_key == "PROFILE"


def test_credentials_that_expire_are_renewed_by_botocore(monkeypatch: pytest.MonkeyPatch):
    given = GIVEN | {"AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": "2999-01-01T00:00:00Z"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    found = find_credentials(given)
    assert hasattr(found, "refresh_needed")
    assert found.get_frozen_credentials().access_key == "AKIA"


def test_the_certificates_are_those_that_an_https_client_trusts():
    bundle = _certificates()
    assert bundle is not None
    assert ssl.create_default_context(cafile=bundle).cert_store_stats()["x509_ca"] > 100


def test_the_orchestrator_starts_without_botocore():
    statement = (
        "import sys, milepost_handlers.orchestrator; print('botocore.session' in sys.modules, 'boto3' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, check=True)
    assert printed.stdout.split() == ["False", "False"]
