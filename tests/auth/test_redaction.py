"""Redaction by value: no form of a living secret stays in a text, and nothing else goes."""

from __future__ import annotations

import base64
import gc
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.auth.credentials import Secret, living_secrets
from remotejobs.auth.redaction import forms, redact

PASSWORD = 'Tr0ub4dor&"ä'
NT_HASH = {"Password": "a4f49c406510bdcab6824ee7c30fd852"}  # [MS-NLMP] 4.2.2.1.2


def shapes(password: str) -> dict[str, str]:
    wide = password.encode("utf-16-le")
    return {
        "plain": password,
        "in a repr": repr([password]),
        "in JSON": json.dumps({"x": password}),
        "in XML": password.replace("&", "&amp;"),
        "utf-8 in hex": password.encode().hex(),
        "UTF-16 in hex": wide.hex().upper(),
        "UTF-16 in a repr": repr(wide),
        "UTF-8 in a repr": repr(password.encode()),
        **{f"Basic {n}": base64.b64encode(f"{'x' * n}:{password}".encode()).decode() for n in range(3)},
        **{f"UTF-16 in base64 {n}": base64.b64encode(b"\0" * n + wide).decode() for n in range(3)},
    }


@pytest.mark.parametrize("shape", shapes(PASSWORD))
def test_every_form_is_taken_out(shape: str) -> None:
    secret = Secret(PASSWORD)
    text = shapes(secret.reveal())[shape]
    assert not any(form in redact(f"before {text} after") for form in forms(PASSWORD))
    assert redact(f"before {text} after").startswith("before ")
    assert redact(f"before {text} after").endswith(" after")
    assert "***" in redact(text)


def test_the_nt_hash_is_taken_out() -> None:
    import spnego  # noqa: F401 - who makes hashes has it

    [(password, hashed)] = NT_HASH.items()
    secret = Secret(password)
    data = bytes.fromhex(hashed)
    for text in (hashed, hashed.upper(), base64.b64encode(b"ab" + data).decode(), repr(data)):
        assert redact(f"<{text}>") != f"<{text}>", text
        assert hashed not in redact(text).lower()
    assert secret


def test_a_secret_that_is_gone_is_forgotten() -> None:
    secret = Secret("forget-me-not")
    assert redact("forget-me-not") == "***"
    assert secret in living_secrets()
    del secret
    gc.collect()
    assert redact("forget-me-not") == "forget-me-not"


def test_what_is_short_would_take_words_out() -> None:
    secret = Secret("abc")
    assert redact("abc") == "abc"
    assert forms("abc") == []
    assert secret


def test_redaction_does_not_import_what_takes_long() -> None:
    code = (
        "import sys\nfrom remotejobs.auth.credentials import Secret\nfrom remotejobs.auth.redaction import redact\n"
        "s = Secret('Tr0ub4dor'); assert redact('Tr0ub4dor') == '***'; print('spnego' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@given(st.text(min_size=6, max_size=30), st.text(), st.text())
def test_no_password_survives(password: str, before: str, after: str) -> None:
    secret = Secret(password)
    assert password not in redact(before + password + after).replace("***", "") or password in before + after
    assert secret
