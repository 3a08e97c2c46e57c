"""What a search begins with: small samples made by hand, and recorded ones where they are beside the repository.

Knows the shapes of what hosts send. Must not know who reads it.
"""

from __future__ import annotations

import base64
import gzip
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import yaml

from remotejobs.model import JobSpec, Outcome, Record, ScriptCommand, Stream
from remotejobs.model import Target as Host
from remotejobs.rows import Arrival, ChildRow, Fresh, JobRow, Phase
from remotejobs.states import EndReason
from remotejobs.store.exported import header_lines, last_line, record_line
from remotejobs.transport.sealed import seal
from remotejobs.wsman import about
from remotejobs.wsman.envelopes import ADDRESSING, ENUMERATION, SHELL, SOAP, TRANSFER, WSMAN, WSMAN_MS
from remotejobs.wsman.psrp.fragments import fragments
from tests.recordings import RECORDINGS

ID: Final = "uuid:00000000-0000-0000-0000-00000000000A"
_DATA: Final = Path(__file__).parents[1] / "data"
BETWEEN = b"\n%%\n"


class Clear:
    """Seals nothing; the header is eight zeros."""

    protocol = "application/HTTP-SPNEGO-session-encrypted"
    largest = 0

    def wrap(self, message: bytes) -> tuple[bytes, bytes, int]:
        return bytes(8), message, 0

    def unwrap(self, header: bytes, ciphertext: bytes) -> bytes:
        return ciphertext[len(header) & 3 :]


def _envelope(body: str, *, relates: str = ID, more: str = "") -> bytes:
    return (
        f'<s:Envelope xml:lang="en-US" xmlns:s="{SOAP}" xmlns:a="{ADDRESSING}" xmlns:x="{TRANSFER}" '
        f'xmlns:w="{WSMAN}" xmlns:rsp="{SHELL}" xmlns:p="{WSMAN_MS}"{more}>'
        f"<s:Header><a:Action>{SHELL}/ReceiveResponse</a:Action><a:MessageID>uuid:2</a:MessageID>"
        f"<a:To>{ADDRESSING}/role/anonymous</a:To><a:RelatesTo>{relates}</a:RelatesTo></s:Header>"
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


_STATE = f'<rsp:CommandState CommandId="C0" State="{SHELL}/CommandState/Done"><rsp:ExitCode>0</rsp:ExitCode>'
_SHELL = (
    "<rsp:Shell><rsp:ShellId>ABCD-0</rsp:ShellId><rsp:Name>N</rsp:Name><rsp:Owner>W\\u</rsp:Owner>"
    "<rsp:State>Disconnected</rsp:State><rsp:ShellRunTime>P1DT2H3M4.5S</rsp:ShellRunTime></rsp:Shell>"
)
_FAULT_HEAD = (
    "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>w:TimedOut</s:Value></s:Subcode></s:Code>"
    '<s:Reason><s:Text xml:lang="en-US">No.</s:Text></s:Reason><s:Detail>'
)
_F = 'xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"'
ENVELOPES = (
    _envelope(
        '<rsp:ReceiveResponse><rsp:Stream Name="stdout" CommandId="C0">'
        f"{base64.b64encode(b'some bytes of a stream of fragments').decode()}</rsp:Stream>{_STATE}</rsp:CommandState>"
        "</rsp:ReceiveResponse>"
    ),
    _envelope("<rsp:CommandResponse><rsp:CommandId>AB-0</rsp:CommandId></rsp:CommandResponse>"),
    _envelope(
        "<x:ResourceCreated><a:Address>http://h:5985/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>http://r"
        '</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">ABCD-0</w:Selector></w:SelectorSet>'
        f"</a:ReferenceParameters></x:ResourceCreated>{_SHELL}"
    ),
    _envelope(_SHELL),
    _envelope(
        f'<n:EnumerateResponse xmlns:n="{ENUMERATION}"><n:EnumerationContext>c</n:EnumerationContext><w:Items>{_SHELL}'
        "<rsp:Command><rsp:CommandId>C</rsp:CommandId><rsp:CommandLine>dir</rsp:CommandLine></rsp:Command></w:Items>"
        "<w:EndOfSequence/></n:EnumerateResponse>"
    ),
    _envelope(
        '<rsp:ConnectResponse><connectResponseXml xmlns="http://schemas.microsoft.com/powershell">'
        f"{base64.b64encode(b'some bytes of a stream of fragments').decode()}</connectResponseXml>"
        "</rsp:ConnectResponse>"
    ),
    _envelope(
        f'<c:Config xmlns:c="{about.CONFIG}"><c:MaxEnvelopeSizekb>500</c:MaxEnvelopeSizekb><c:Service><c:Auth>'
        "<c:Basic>true</c:Basic></c:Auth></c:Service></c:Config>"
    ),
    _envelope(
        f'<i:IdentifyResponse xmlns:i="{about.IDENTITY}"><i:ProtocolVersion>p</i:ProtocolVersion><i:ProductVendor>M'
        "</i:ProductVendor><i:ProductVersion>OS: 0.0.0 SP: 0.0 Stack: 3.0</i:ProductVersion></i:IdentifyResponse>"
    ),
    _envelope(
        f'{_FAULT_HEAD}<f:WSManFault {_F} Code="2150858793" Machine="h"><f:Message><f:ProviderFault provider="p">'
        f'<f:WSManFault {_F} Code="995"><f:Message>Why</f:Message></f:WSManFault></f:ProviderFault></f:Message>'
        "</f:WSManFault></s:Detail></s:Fault>"
    ),
    _envelope(
        f"{_FAULT_HEAD}<m:MSFT_WmiError xmlns:m='m'><m:error_Code>5</m:error_Code><m:Message>Why</m:Message>"
        "<m:MessageID>HRESULT 0x80070005</m:MessageID></m:MSFT_WmiError></s:Detail></s:Fault>"
    ),
)


def _object(members: str) -> bytes:
    return f'<Obj RefId="0"><MS>{members}</MS></Obj>'.encode()


_ERROR = (
    '<Obj N="ExceptionAsErrorRecord" RefId="1"><TN RefId="0"><T>System.Management.Automation.ErrorRecord</T></TN>'
    '<ToString>no</ToString><MS><Obj N="Exception" RefId="2"><TN RefId="1"><T>Deserialized.System.Exception</T></TN>'
    '<Props><S N="Message">no</S></Props></Obj><Nil N="TargetObject"/><S N="FullyQualifiedErrorId">No</S>'
    '<I32 N="ErrorCategory_Category">7</I32><S N="ErrorCategory_Reason">R</S><S N="ErrorDetails_Message">D</S>'
    '<B N="SerializeExtendedInfo">true</B><S N="InvocationInfo_Line">x</S><I32 N="InvocationInfo_ScriptLineNumber">1'
    "</I32></MS></Obj>"
)
_METHOD = '<Obj N="mi" RefId="1"><TN RefId="0"><T>M</T></TN><ToString>Prompt</ToString><I32>{}</I32></Obj>'
_ITEMS = '<Obj N="mp" RefId="2"><TNRef RefId="0"/><LST>{}</LST></Obj>'
_FIELDS = '<Obj RefId="3"><LST><Obj RefId="4"><MS><S N="name">Name</S></MS></Obj></LST></Obj>'
CALLS = tuple(
    _object(f'<I64 N="ci">{ci}</I64>' + _METHOD.format(mi) + _ITEMS.format(items))
    for ci, mi, items in (
        (-100, 16, "<S>text</S>"),
        (-100, 13, "<I32>1</I32><I32>2</I32><S>text</S>"),
        (-100, 6, "<I32>3</I32>"),
        (1, 23, f"<S>caption</S><S>message</S>{_FIELDS}"),
        (1, 26, "<S/><S/>" + _FIELDS),
        (1, 11, ""),
        (1, 25, "<S>caption</S><S>message</S><S>user</S>"),
        (1, 46, "<I32>4</I32>"),
        (1, 56, f"<S>caption</S><S>message</S>{_FIELDS}"),
    )
)
CLIXML = (
    _object(_ERROR),
    *CALLS,
    b'<Obj RefId="0"><LST><I32>1</I32><Ref RefId="0"/><S>_xD83D__xDE00_</S></LST></Obj>',
    b'<Obj RefId="0"><DCT><En><S N="Key">a</S><I64 N="Value">1</I64></En></DCT></Obj>',
    b'<Obj><DCT><En><D N="Key">1</D><Nil N="Value"/></En></DCT></Obj>',
    b'<Obj RefId="0"><TN RefId="0"><T>System.Collections.Stack</T></TN><STK><Db>1.5</Db><Sg>NaN</Sg></STK></Obj>',
    b"<Obj><QUE><C>65</C><BA>AQID</BA><G>00000000-0000-0000-0000-000000000001</G><URI>http://h/</URI></QUE></Obj>",
    b"<Obj><IE><DT>2026-01-02T03:04:05.1234567+01:00</DT><TS>P1DT2H3M4.5S</TS><Version>1.2.3.4</Version></IE></Obj>",
    b"<Obj><LST><By>1</By><SB>-1</SB><U16>1</U16><I16>1</I16><U32>1</U32><U64>1</U64><B>true</B><SBK>x</SBK></LST></Obj>",
    b"<Obj><Props><XD>&lt;a/&gt;</XD><XD N='x'>&lt;a/&gt;</XD><SS N='s'>AAAA</SS></Props><MS><MS N='m'/></MS></Obj>",
    b"<PR><AV>a</AV><AI>0</AI><Nil/><PI>-1</PI><PC>-1</PC><T>Processing</T><SR>-1</SR><SD>s</SD></PR>",
    b'<?xml version="1.0"?>\xef\xbb\xbf<S xmlns="http://schemas.microsoft.com/powershell/2004/04">&#xFFFE;</S>',
    _object('<S N="InformationalRecord_Message">w</S><B N="InformationalRecord_SerializeInvocationInfo">true</B>'),
    _object('<S N="MessageData">m</S><Obj N="Tags" RefId="1"><LST><S>PSHOST</S></LST></Obj><U32 N="ProcessId">1</U32>'),
    _object('<S N="Activity">a</S><I32 N="PercentComplete">5</I32><Obj N="Type" RefId="1"><I32>1</I32></Obj>'),
)
MESSAGES = (
    BETWEEN.join(
        (
            b"10002 " + _object('<Version N="protocolversion">2.3</Version><Version N="PSVersion">2.0</Version>'),
            b"21005 " + _object('<I32 N="RunspaceState">2</I32>'),
            b"21009 " + _object("<S N='a'>b</S>"),
            b"41004 <S>out</S>",
            b"41005 " + _object(_ERROR),
            b"41006 " + _object('<I32 N="PipelineState">4</I32>'),
        )
    ),
    b"21005 " + _object(f'<I32 N="RunspaceState">5</I32>{_ERROR}'),
    b"41006 " + _object(f'<I32 N="PipelineState">5</I32>{_ERROR}'),
    b"10006 " + _object(f'<S N="EncryptedSessionKey">{base64.b64encode(bytes(140)).decode()}</S>'),
    BETWEEN.join((b"10007 ", b"2100B ")),
    *(BETWEEN.join((b"41008 " + CLIXML[-3], b"41100 " + call)) for call in CALLS),
    *(b"21100 " + call for call in CALLS[:2]),
)
NTLM = bytes.fromhex(
    "4e544c4d53535000020000000c000c003800000035828962"
    "0123456789abcdef000000000000000024002400440000000a00614a0000000f"
    "530045005200560045005200"
    "02000c00530045005200560045005200"
    "01000c00530045005200560045005200"
    "00000000"
)
# A TLS alert, the head of a ServerHello, a record of data.
TLS = [
    bytes.fromhex(record)
    for record in (
        "15030300020228",
        "160303003a020000360303" + "11" * 32 + "00c02f00000eff01000100000b000403000102",
        "1703030018" + "22" * 24,
    )
]
PIPES = (
    b"437\nstdout caf\x82\r\nno end" + BETWEEN + b"stderr not found\r\n",
    b"65001\nstdout caf\xc3\xa9\r\r\n\n" + BETWEEN + b"stderr a" + BETWEEN + b"stdout b\n" + BETWEEN + b"stderr c\n",
    b"932\nstdout \x83\x65\x83\x58\n" + BETWEEN + b"other x",
    b"65000\nstdout +2D0-\n+ZeU-",
    b"1200\nstdout a\0\r\0\n\0",
    (
        b'850\nstderr #< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
        b'<Obj S="progress" RefId="0"/><S S="Error">No._x000D__x000A_</S><S S="Warning">w</S></Objs>\r\nmore'
    ),
)
DATES = (
    b"Sun, 06 Nov 1994 08:49:37 GMT",
    b"Sunday, 06-Nov-94 08:49:37 GMT",
    b"Sun Nov  6 08:49:37 1994",
    b"1 Jan 1 0:0 -2359",
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml;charset=UTF-8\r\nServer: Microsoft-HTTPAPI/2.0\r\n"
HTTP = (
    _HEAD + b"Content-Length: 4\r\n\r\nbody",
    _HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n",
    _HEAD + b"Connection: close\r\n\r\nbody until the end",
    b'HTTP/1.1 401 \r\nWWW-Authenticate: Negotiate, Basic realm="WSMAN", CredSSP\r\nContent-Length: 0\r\n\r\n',
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 500 No\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"<html><body>no</body></html>",
)
CHALLENGES = (
    b'Negotiate\nBasic realm="WSMAN"\nCredSSP\nKerberos',
    b'Negotiate TlRMTVNTUAACAAAA, Digest realm="a, \\"b", qop="auth,auth-int", nonce="n=", algorithm=MD5-sess',
    b'Digest realm="r", nonce="n", qop=auth, algorithm=SHA-256, charset=UTF-8, opaque="o", stale=TRUE\nDigest nonce=n',
)


def sealed_bodies() -> tuple[bytes, ...]:
    found = []
    for largest in (0, 8):
        sealer = Clear()
        sealer.largest = largest
        kind, body = seal(sealer, b"<s:Envelope/> and more")
        found.append(kind.encode() + b"\n" + body)
        found.append(kind.encode() + b"\n" + body.replace(b"--Enc", b"-- Enc").replace(b"\t", b"") + b"\r\n\r\n")
    return tuple(found)


def _certificate(algorithm: str) -> bytes:
    """A certificate in which nothing is true but its shape."""

    def item(tag: int, *values: bytes) -> bytes:
        value = b"".join(values)
        return bytes((tag, 0x82)) + len(value).to_bytes(2, "big") + value

    signature = item(0x30, item(0x06, bytes.fromhex(algorithm)), item(0x05))
    name = item(0x30, item(0x31, item(0x30, item(0x06, bytes.fromhex("550403")), item(0x0C, b"web01"))))
    names = item(0x30, item(0x82, b"*.corp.example"), item(0x87, bytes((10, 0, 0, 1))))
    extension = item(0x30, item(0x06, bytes.fromhex("551d11")), item(0x04, names))
    dates = item(0x30, item(0x17, b"260101000000Z"), item(0x17, b"270101000000Z"))
    body = [item(0xA0, item(0x02, b"\2")), item(0x02, b"\1"), signature, name, dates, name, item(0x30)]
    return item(0x30, item(0x30, *body, item(0xA3, item(0x30, extension))), signature, item(0x03, bytes(9)))


CERTIFICATES = tuple(map(_certificate, ("2a864886f70d01010b", "2a8648ce3d040303", "2a864886f70d01010a", "2a")))


def framed() -> tuple[bytes, ...]:
    some = [b"".join(fragments(n, b"message %d" % n * n, 40)) for n in range(1, 8)]
    return (some[0], b"".join(some), some[3] + some[4], b"".join(some[3:])[25:])


def jobs() -> tuple[bytes, ...]:
    ids = [uuid.UUID(f"00000000-0000-4000-8000-00000000000{n}") for n in range(8)]
    hosts = [Host("web01"), Host("web02", port=5986, ssl=True)]
    rows = [ChildRow(0, ids[n], host, Fresh(*ids[3:6])) for n, host in enumerate(hosts)]
    rows[0].phase, rows[0].ended, rows[0].began = Phase.ENDED, 4.0, 2.0
    rows[0].outcome = Outcome(EndReason.CommandFailed, "no", details={"a": [1, {"b": None}]}, failure=_object(_ERROR))
    rows[0].state = rows[0].outcome.state
    spec = JobSpec(ScriptCommand("$args", (1, "x", [2.5])), tuple(hosts))
    row = JobRow(0, "", ids[6], spec, "web01,web02", rows, 1.0, {}, ends=[0], notes=("n",))
    records = [Arrival(n + 1, 0, Record(n + 1, Stream.Output, b"<S>%d\xff</S>" % n, n + 1, 3.0)) for n in range(3)]
    lines = [
        *header_lines(row, [None, 2], by="remotejobs", computer="here", now=5.0),
        *map(record_line, records),
        last_line(3),
    ]
    data = "".join(lines).encode("latin-1")
    return (data, gzip.compress(data, 9, mtime=0), data.replace(b"CommandFailed", b"Completed"))


def recorded_seeds(name: str) -> Sequence[bytes]:
    """More seeds: rows of tests/data, and what lies beside the repository."""
    found: list[bytes] = []
    if name == "clixml":
        for path in sorted((_DATA / "clixml").glob("*.jsonl")):
            for row in map(json.loads, path.read_text("utf-8").splitlines()):
                found += [value.encode("utf-8", "replace") for value in row.values() if str(value).startswith("<")]
    if name == "envelopes" and RECORDINGS is not None:
        for path in sorted((RECORDINGS / "windows").glob("*.yml")):
            for message in yaml.safe_load(path.read_text("utf-8"))["messages"]:
                found.append((message.get("response") or "").encode())
        found += [
            path.read_bytes().partition(b"\r\n\r\n")[2] for path in sorted((RECORDINGS / "omi").glob("*-resp.txt"))
        ]
    if name == "http" and RECORDINGS is not None:
        found += [path.read_bytes() for path in sorted((RECORDINGS / "omi").glob("*-resp.txt"))]
    return [data for data in found if 0 < len(data) < 5000]
