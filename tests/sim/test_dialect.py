"""The built-in dialect: what it knows it does as a recorded PowerShell did, what it does not know it says."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remotejobs.sim.clixml_build import to_clixml
from remotejobs.sim.clixml_parse import from_clixml
from remotejobs.sim.dialect.errors import Refusal
from remotejobs.sim.dialect.parser import parse
from remotejobs.sim.dialect.runspace import Dialect
from remotejobs.sim.psrp_host import PsrpHost
from remotejobs.sim.psrp_wire import Defragmenter, fragments
from remotejobs.sim.recorded import load_recording, read_messages
from remotejobs.sim.records import ScriptError
from remotejobs.sim.shells import HostInfo
from tests.recordings import RECORDINGS, needs_recordings
from tests.sim.psrp_conversation import CASES, CTRL_C, Client, Seen, Sink, in_loop, masked, recorded_requests

POOL = "00000000-0000-0000-0000-000000000000"
RECORDED = sorted(CASES.glob("*.wire.jsonl"))
KNOWN_DIFFERENCES = {"parse-error-multi"}  # the parser stops at the first error, PowerShell finds three


async def opened() -> Client:
    sink = Sink()
    client = Client(PsrpHost(Dialect(), HostInfo("WEB01", "admin"), sink), sink)
    await client.open()
    return client


def outputs(script: str, *arguments: object) -> list[str]:
    async def run() -> list[str]:
        return await (await opened()).outputs(script, *arguments)

    return asyncio.run(run())


def run(script: str) -> list[Seen]:
    async def main() -> list[Seen]:
        return await (await opened()).run(script)

    return asyncio.run(main())


def property_of(clixml: str, name: str) -> str:
    found = re.search(rf'N="{name}">([^<]*)<', clixml)
    return found[1] if found else ""


async def replayed(path: Path) -> list[Seen]:
    """Send the dialect what the client of a recording sent to PowerShell; the messages of the last pipeline."""
    requests = recorded_requests(path)
    sink = Sink()
    shell = PsrpHost(Dialect(), HostInfo("WEB01"), sink)
    shell.create(requests.pop(POOL))
    for guid, data in requests.items():
        shell.command(guid.upper(), "", [base64.b64encode(data).decode()], {})
        if "host-" in path.name:
            await sink.until(lambda guid=guid: any(c == guid.upper() and s != "Running" for c, s in sink.states))  # type: ignore[misc]
            shell.signal(guid.upper(), CTRL_C)
        await sink.done(guid.upper())
    return sink.of(guid.upper())


@pytest.mark.parametrize("path", RECORDED, ids=[path.name.removesuffix(".wire.jsonl") for path in RECORDED])
def test_recorded_scripts_give_what_powershell_gave_or_are_refused(path: Path) -> None:
    name = path.name.removesuffix(".wire.jsonl")
    seen = asyncio.run(replayed(path))
    refused = [s for s in seen if "SimulatedDialect" in s.clixml]
    if refused:
        assert seen[-1] is refused[0]
        assert '"PipelineState">5<' in refused[0].clixml
        return
    recording = load_recording(path)
    expected = [(m.type, masked(m.payload.decode())) for m in (*recording.messages, *recording.stopped)]
    got = [(s.type, masked(s.clixml)) for s in seen]
    if name in KNOWN_DIFFERENCES:
        assert got[-1][0] == expected[-1][0]
        assert property_of(got[-1][1], "FullyQualifiedErrorId") == property_of(expected[-1][1], "FullyQualifiedErrorId")
        return
    assert got == expected


@needs_recordings
def test_enough_recorded_scripts_are_known() -> None:
    known = 0
    for path in RECORDED:
        seen = asyncio.run(replayed(path))
        known += not any("SimulatedDialect" in s.clixml for s in seen)
    assert known >= 55


EXPRESSIONS = {
    "1 + 1": "<I32>2</I32>",
    "2147483647 + 1": "<Db>2147483648</Db>",
    "1l + 1": "<I64>2</I64>",
    "3000000000": "<I64>3000000000</I64>",
    "7 % -3; -7 % 3": "<I32>1</I32><I32>-1</I32>",
    "10 / 4; 10 / 5": "<Db>2.5</Db><I32>2</I32>",
    "-2 + 5 * (3 - 1)": "<I32>8</I32>",
    "'a' + 1; 1 + '2'": "<S>a1</S><I32>3</I32>",
    "'ab' * 3": "<S>ababab</S>",
    "(1,2 + 3).Count": "<I32>3</I32>",
    "1, 2 + 3": "<I32>1</I32><I32>2</I32><I32>3</I32>",
    "$x = 5; $x++; $x += 2; $x": "<I32>8</I32>",
    "'A' -eq 'a'; 'A' -ceq 'a'": "<B>true</B><B>false</B>",
    "1,2,3 -gt 1": "<I32>2</I32><I32>3</I32>",
    "'b' -in 'a','b'; 1,2 -contains 2; 1,2 -notcontains 2": "<B>true</B><B>true</B><B>false</B>",
    "'web01' -like 'WEB*'; 'x' -notlike 'y?'": "<B>true</B><B>true</B>",
    "'web01' -match '(\\d+)$'; $Matches[1]": "<B>true</B><S>01</S>",
    "'a-b' -replace '(\\w)-(\\w)','$2-$1'": "<S>b-a</S>",
    "('a,b,c' -split ',').Count; -split 'x y'": "<I32>3</I32><S>x</S><S>y</S>",
    "'{0:D3}|{1,-4}|{2:X}|{3:F1}|{{}}' -f 7,'a',255,2.25": "<S>007|a   |FF|2.3|{}</S>",
    "!$true; -not 0; $true -and $false; $false -or 1": "<B>false</B><B>true</B><B>false</B><B>true</B>",
    "$PSVersionTable.PSVersion.Major; $PSVersionTable.PSVersion.Minor": "<I32>7</I32><I32>6</I32>",
    "'5' -as [int]; $null -eq ('x' -as [int])": "<I32>5</I32><B>true</B>",
    "5 -is [int]; 'x' -is [string]; 5 -isnot [long]": "<B>true</B><B>true</B><B>true</B>",
    "[int]'42'; [string]42; [bool]'x'; [char]65; [double]'1.5'": (
        "<I32>42</I32><S>42</S><B>true</B><C>65</C><Db>1.5</Db>"
    ),
    '"a`tb$(1+1)${x}$env:COMPUTERNAME `$x"': "<S>a_x0009_b2WEB01 $x</S>",
    "@'\nit's\n'@": "<S>it's</S>",
    '@"\n$(1)"x"\n"@': '<S>1"x"</S>',
    "$h = @{b = 2; a = 1}; $h.b; $h['A']; $h.Count; $h.ContainsKey('c')": (
        "<I32>2</I32><I32>1</I32><I32>2</I32><B>false</B>"
    ),
    "$o = [pscustomobject]@{N = 'x'; V = 1}; $o.n; $o.V = 5; $o.v": "<S>x</S><I32>5</I32>",
    "$a = 1..5; $a[0]; $a[-1]; $a[1..2]; $a.Length": "<I32>1</I32><I32>5</I32><I32>2</I32><I32>3</I32><I32>5</I32>",
    "@().Count; @(1).Count; $null.Count": "<I32>0</I32><I32>1</I32>",
    "if (1 -gt 2) { 'a' } elseif ('') { 'b' } else { 'c' }": "<S>c</S>",
    "foreach ($i in 1..3) { if ($i -eq 2) { continue }; $i }": "<I32>1</I32><I32>3</I32>",
    "for ($i = 0; $i -lt 9; $i++) { if ($i -gt 1) { break }; $i }": "<I32>0</I32><I32>1</I32>",
    "$i = 0; do { $i } while ($i++ -lt 1)": "<I32>0</I32><I32>1</I32>",
    'function f($a, $b = 2) { "$a-$b"; $args.Count }; f 1; f -b 3 x y': "<S>1-2</S><I32>0</I32><S>x-3</S><I32>1</I32>",
    "function g { return 5; 6 }; g; (g) + 1": "<I32>5</I32><I32>6</I32>",
    "& { param($x) $x * 2 } 4; $b = { 'b' }; & $b": "<I32>8</I32><S>b</S>",
    "try { 1/0 } catch { \"c: $_\" } finally { 'f' }": "<S>c: Attempted to divide by zero.</S><S>f</S>",
    "try { throw 'x' } catch [System.FormatException] { 'no' } catch { $_.FullyQualifiedErrorId }": "<S>x</S>",
    "$ErrorActionPreference = 'SilentlyContinue'; Write-Error x; $error.Count; $error[0].Exception.Message": (
        "<I32>1</I32><S>x</S>"
    ),
    "Write-Error x 2>$null; Write-Warning w 3>$null; 'on'": "<S>on</S>",
    "1..5 | Where-Object { $_ % 2 } | ForEach-Object { $_ * 10 }": "<I32>10</I32><I32>30</I32><I32>50</I32>",
    "Get-Service | ? Status -eq Stopped | % Name": "<S>BITS</S><S>Netlogon</S><S>wuauserv</S>",
    "3,1,2 | sort -Descending; 'b','a' | Sort-Object { $_ }": "<I32>3</I32><I32>2</I32><I32>1</I32><S>a</S><S>b</S>",
    "1..9 | select -Last 2; 1..9 | select -Skip 8": "<I32>8</I32><I32>9</I32><I32>9</I32>",
    "(1..4 | Measure-Object -Sum -Maximum).Sum": "<Db>10</Db>",
    "(Get-Service WinRM, Spool*).Name -join ','": "<S>WinRM,Spooler</S>",
    "(Get-CimInstance Win32_OperatingSystem).CSName; hostname; whoami": "<S>WEB01</S><S>WEB01</S><S>web01\\admin</S>",
    "(Get-EventLog -LogName System -Newest 3).Count": "<I32>3</I32>",
    "'abc'.ToUpper(); 'a b'.Split(' ')[1]; 'abc'.Substring(1, 1); 'x'.PadLeft(3)": (
        "<S>ABC</S><S>b</S><S>b</S><S>  x</S>"
    ),
    "[math]::Max(3, 4); [math]::Round(2.5); [string]::Join('-', 1, 2); [int]::MaxValue": (
        "<I32>4</I32><Db>2</Db><S>1-2</S><I32>2147483647</I32>"
    ),
    "(Get-Date '2026-11-20').AddDays(1).ToString('yyyy-MM-dd'); Get-Date '2026-01-02' -Format 'dd.MM.yy'": (
        "<S>2026-11-21</S><S>02.01.26</S>"
    ),
    "[datetime]'2026-11-20' - [datetime]'2026-11-19T12:00'": "<TS>PT12H</TS>",
    "while ($true) { while ($true) { break }; 'x'; break }": "<S>x</S>",
    "1..1000000 | select -First 2": "<I32>1</I32><I32>2</I32>",
    "$null = 5; $x = if (1) { 'y' }; $x": "<S>y</S>",
    "'a', 'b' | % -Begin { $i = 0 } -Process { $i++; \"$i$_\" } -End { $i }": "<S>1a</S><S>2b</S><I32>2</I32>",
}


@pytest.mark.parametrize(("script", "expected"), EXPRESSIONS.items())
def test_expressions(script: str, expected: str) -> None:
    assert "".join(outputs(script)) == expected


REFUSED = [
    "Get-ADUser x", "ipconfig", "Get-Service -ComputerName x", "class P {}", "trap { }", "$x = $Host.Version", "a && b",
    "[System.Net.Dns]::GetHostName()", "'x'.Normalize()", "Get-Item x > out.txt", "$s.Count ? 1 : 2", "1 -shl 2",
    "[regex]::Match('a','b')", "Get-Service | Format-Table", "1d + 1.5", "Get-Content x", "@'\n'@ | iex",
    "param([Parameter(Mandatory)]$x) $x", "Start-Job { 1 }", "{ }.Ast", "\"{0:yy'x'}\" -f 5",
    "switch -Regex (1) { 1 {} }", "$PSSenderInfo", "$OFS = ','",
]  # fmt: skip


@pytest.mark.parametrize("script", REFUSED)
def test_what_is_not_known_is_said_and_cannot_be_caught(script: str) -> None:
    for text in (script, f"try {{\n{script}\n}} catch {{ 'swallowed' }}"):
        seen = run(text)
        assert '"PipelineState">5<' in seen[-1].clixml
        assert property_of(seen[-1].clixml, "FullyQualifiedErrorId") == "SimulatedDialect", seen[-1].clixml[:400]
        assert "PowerShell itself runs every script" in seen[-1].clixml
        assert "swallowed" not in "".join(s.clixml for s in seen)


ERRORS = {
    "throw 'boom'": ("boom", "OperationStopped: (boom:String) [], RuntimeException"),
    "'x'.Foo.Bar()": ("InvokeMethodOnNull", "InvalidOperation: (:) [], RuntimeException"),
    "[int]'x'": ("InvalidCastFromStringToInteger", "InvalidArgument: (:) [], RuntimeException"),
    "$a = $null; $a[0]": ("NullArray", "InvalidOperation: (:) [], RuntimeException"),
    "No-Such": ("CommandNotFoundException", "ObjectNotFound: (No-Such:String) [], CommandNotFoundException"),
    "Get-Service nope": (
        "NoServiceFoundForGivenName,Microsoft.PowerShell.Commands.GetServiceCommand",
        "ObjectNotFound: (nope:String) [Get-Service], ServiceCommandException",
    ),
    "$true = 1": ("VariableNotWritable", "WriteError: (true:String) [], SessionStateUnauthorizedAccessException"),
    "Write-Error 'e' -ErrorId Own -Category ReadError -TargetObject t": (
        "Own", "ReadError: (t:String) [Write-Error], WriteErrorException",
    ),
    "Start-Sleep x": (
        "CannotConvertArgumentNoMessage,Microsoft.PowerShell.Commands.StartSleepCommand",
        "InvalidArgument: (:) [Start-Sleep], ParameterBindingException",
    ),
    "function f { f }; f": ("CallDepthOverflow", "InvalidOperation: (:) [], ScriptCallDepthException"),
}  # fmt: skip


@pytest.mark.parametrize("script", ERRORS)
def test_errors_carry_powershells_ids(script: str) -> None:
    seen = run(script)
    record = next(s for s in seen if "FullyQualifiedErrorId" in s.clixml)
    found = (property_of(record.clixml, "FullyQualifiedErrorId"), property_of(record.clixml, "ErrorCategory_Message"))
    assert found == ERRORS[script]


def test_statement_errors_go_on_and_thrown_ones_end() -> None:
    assert [s.name for s in run("1/0; 'on'")] == ["ERROR_RECORD", "PIPELINE_OUTPUT", "PIPELINE_STATE"]
    assert [s.name for s in run("function f { 1/0; 'in' }; f; 'on'")][:3] == [
        "ERROR_RECORD",
        "PIPELINE_OUTPUT",
        "PIPELINE_OUTPUT",
    ]
    assert [s.name for s in run("throw 'x'; 'never'")] == ["PIPELINE_STATE"]
    assert [s.name for s in run("Get-Service nope -ErrorAction Stop; 'never'")] == ["PIPELINE_STATE"]
    assert [s.name for s in run("$ErrorActionPreference = 'Stop'; 1/0; 'never'")] == ["PIPELINE_STATE"]


def test_a_service_has_the_members_of_a_service_controller() -> None:
    (clixml,) = outputs("Get-Service winrm")
    for part in (
        "<T>System.ServiceProcess.ServiceController</T>", "<ToString>WinRM</ToString>", '<S N="Status">Running</S>',
        '<S N="StartType">Automatic</S>', '<S N="Name">WinRM</S>', '<S N="MachineName">.</S>',
        '<Obj N="ServicesDependedOn"', "<LST><S>RPCSS</S><S>HTTP</S></LST>",
    ):  # fmt: skip
        assert part in clixml


def test_arguments_are_bound_by_position_and_name() -> None:
    assert outputs("param($a, [int]$n) $a; $n + 1; $args.Count", "x", "41", 5) == [
        "<S>x</S>",
        "<I32>42</I32>",
        "<I32>1</I32>",
    ]


@in_loop
async def test_variables_outlive_a_pipeline() -> None:
    client = await opened()
    await client.run("$n = 1; function f { 'kept' }")
    assert await client.outputs("$n; f") == ["<I32>1</I32>", "<S>kept</S>"]


PARSE_ERRORS = {
    "'open": "TerminatorExpectedAtEndOfString",
    "if (1) {": "MissingEndCurlyBrace",
    "(1 + 2": "MissingEndParenthesisInExpression",
    "1 +": "ExpectedValueExpression",
    "function { }": "MissingNameAfterKeyword",
    "try { }": "MissingCatchOrFinally",
    ") 1": "UnexpectedToken",
    '"$x: y"': "InvalidVariableReferenceWithDrive",
}


@pytest.mark.parametrize("script", PARSE_ERRORS)
def test_parse_errors_end_as_powershells(script: str) -> None:
    seen = run("'not run';\n" + script)
    assert [s.name for s in seen] == ["PIPELINE_STATE"]
    assert property_of(seen[0].clixml, "FullyQualifiedErrorId") == PARSE_ERRORS[script]
    assert "ParserError: (:) []" in seen[0].clixml


@given(st.text(alphabet="$@(){}[]'\"`;|&,.-+*/%=! \nabif123#<>:", max_size=40))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    try:
        parse(text)
    except ScriptError as error:
        assert error.record.error_id


@pytest.mark.parametrize("text", ["(" * 5000, "{" * 5000, "$(" * 3000, "-" * 9000, "if(1){" * 3000, "@(" * 3000 + "1"])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ScriptError):
        parse(text)


def test_refusals_name_their_place() -> None:
    with pytest.raises(Refusal) as caught:
        parse("1\nclass P { }")
    position = caught.value.record.position
    assert position
    assert (position.line, position.column) == (2, 1)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_is_written_as_clixml_reads_back(value: object) -> None:
    def plain(found: object) -> object:
        inner = getattr(found, "value", found)
        return [plain(item) for item in inner] if isinstance(inner, list) else inner

    assert plain(from_clixml(to_clixml(value).encode(), str)) == value


@given(st.binary(max_size=300), st.integers(22, 90), st.lists(st.integers(1, 40), max_size=20))
def test_fragments_join_however_they_are_cut(message: bytes, size: int, cuts: list[int]) -> None:
    stream = b"".join(fragments(7, message, size)) + b"".join(fragments(8, message[::-1], size))
    joined = Defragmenter()
    found: list[bytes] = []
    for length in cuts:
        found += joined.feed(stream[:length])
        stream = stream[length:]
    assert found + joined.feed(stream) == [message, message[::-1]]


@needs_recordings
def test_recorded_output_is_written_byte_for_byte() -> None:
    """Every recorded output whose types are modelled is read and written to the same bytes."""
    assert RECORDINGS
    total = 0
    for path in sorted((RECORDINGS / "pwsh").glob("c*/*.wire.jsonl")):
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for messages in read_messages(lines, "s2c").values():
            for message in messages:
                text = message.payload.decode()
                if message.type != 0x00041004 or not text or re.search("<(IE|STK|QUE|SS)[ >]", text):
                    continue
                written = to_clixml(from_clixml(message.payload, str), depth=9).replace("Deserialized.", "")
                ticks = re.search(r"\.\d{7}", text)  # Python's dates have microseconds
                if not ticks and "RuntimeType" not in text and "AppDomain" not in text:
                    assert written == text.replace("Deserialized.", "")
                    total += 1
    assert total > 5000
