"""Identify and winrm/config: what hosts answer, recorded and not."""

from __future__ import annotations

import re

import pytest

from remotejobs.errors import FaultError, LimitError, ProtocolError
from remotejobs.wsman.about import CONFIG, IDENTIFY, read_config, read_identity
from remotejobs.wsman.envelopes import ADDRESSING, SOAP, WSMAN
from tests.recordings import RECORDINGS, needs_recordings


def envelope(body: str, relates_to: str = "") -> bytes:
    header = f'<a:RelatesTo xmlns:a="{ADDRESSING}">{relates_to}</a:RelatesTo>' if relates_to else ""
    return f'<s:Envelope xmlns:s="{SOAP}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'.encode()


def settings(body: str) -> dict[str, str]:
    data = envelope(f'<cfg:Config xmlns:cfg="{CONFIG}">{body}</cfg:Config>', "uuid:1")
    return read_config(data, "uuid:1")


@needs_recordings
def test_omi_says_who_it_is() -> None:
    assert RECORDINGS is not None
    data = (RECORDINGS / "omi" / "identify-resp.txt").read_bytes().partition(b"\n\n")[2]
    assert read_identity(data, IDENTIFY.message_id) == ("Open Management Infrastructure", "1.9.1-0", WSMAN)


@needs_recordings
def test_windows_shows_its_settings() -> None:
    assert RECORDINGS is not None
    text = (RECORDINGS / "windows" / "test_wsman_update_envelope_size_500.yml").read_text(encoding="utf-8")
    found = re.search(r"<cfg:Config.*?</cfg:Config>", text, re.DOTALL)
    assert found is not None
    joined = re.sub(r"\n\s*\\?", "", found[0]).replace('\\"', '"')
    read = read_config(envelope(joined, "uuid:1"), "uuid:1")
    assert read["MaxEnvelopeSizekb"] == "500"
    assert "Service/Auth/Basic" in read
    assert "Winrs/MaxShellsPerUser" in read


def test_settings_have_their_path() -> None:
    inner = "<cfg:Service><cfg:Auth><cfg:Basic>true</cfg:Basic></cfg:Auth></cfg:Service>"
    assert settings(f"<cfg:MaxEnvelopeSizekb>500</cfg:MaxEnvelopeSizekb>{inner}") == {
        "MaxEnvelopeSizekb": "500",
        "Service/Auth/Basic": "true",
    }


def test_more_settings_than_any_host_has_are_left_out() -> None:
    many = "".join(f"<cfg:S{n}>{'x' * 300}</cfg:S{n}>" for n in range(1000))
    found = settings(many)
    assert len(found) == 200
    assert {len(value) for value in found.values()} == {256}


def test_what_is_no_identity_is_refused() -> None:
    fault = '<s:Fault><s:Reason><s:Text xml:lang="en">No.</s:Text></s:Reason></s:Fault>'
    with pytest.raises(FaultError, match="No"):
        read_identity(envelope(fault), "")
    with pytest.raises(ProtocolError, match="not an IdentifyResponse"):
        read_identity(envelope("<other/>"), "")
    with pytest.raises(ProtocolError, match="web page"):
        read_identity(b"<html><body>Hello</body></html>", "")
    with pytest.raises(LimitError, match="document type"):
        read_identity(b"<!DOCTYPE x [<!ENTITY a 'b'>]>" + envelope("<other/>"), "")
    with pytest.raises(ProtocolError, match=r"not winrm/config"):
        read_config(envelope("<other/>", "uuid:1"), "uuid:1")
    with pytest.raises(ProtocolError, match="another request"):
        read_config(envelope(f'<cfg:Config xmlns:cfg="{CONFIG}"/>', "uuid:2"), "uuid:1")
