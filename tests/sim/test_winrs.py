"""The cmd shell of a simulated host, through its WS-Man service, as the recordings of Windows show it."""

from __future__ import annotations

import pytest

from tests.sim.wire import (
    Client,
    Reply,
    command,
    connected,
    create,
    host_of,
    on_shell,
    one_host,
    receive,
    run,
    send,
    signal,
    state,
    streams,
)

UNKNOWN = b"'%b' is not recognized as an internal or external command,\r\noperable program or batch file.\r\n"


async def outcome(client: Client, shell_id: str, command_id: str) -> tuple[bytes, bytes, int]:
    """Receive until Done: stdout, stderr, exit code."""
    out = {"stdout": b"", "stderr": b""}
    while True:
        reply = await client.post(receive(shell_id, command_id))
        for name, data, _ in streams(reply):
            out[name] += data
        word, code = state(reply)
        if word == "Done":
            assert code is not None
            assert [(name, data) for name, data, end in streams(reply) if end] == [("stdout", b""), ("stderr", b"")]
            return out["stdout"], out["stderr"], int(code)


def ran(line: str, *arguments: str, more: str = "", options: str = "") -> tuple[bytes, bytes, int]:
    """Run one command line on a host of its own."""

    async def main() -> tuple[bytes, bytes, int]:
        async with one_host() as fleet, await connected(fleet) as client:
            shell_id = (await client.post(create(more=more, options=options))).text("ShellId")
            command_id = (await client.post(command(shell_id, line, *arguments))).text("CommandId")
            found = await outcome(client, shell_id, command_id)
            assert (await client.post(signal(shell_id, command_id))).status == 200
            assert (await client.post(on_shell("Delete", shell_id))).status == 200
            assert host_of(fleet).counters.scripts == {" ".join([line, *arguments]): 1}
            return found

    return run(main())


@pytest.mark.parametrize(
    ("line", "out", "err", "code"),
    [
        (["cmd.exe", "/c", "echo", "hi"], b"hi\r\n", b"", 0),
        (["cmd.exe", "/c echo out && echo err>&2 && exit 1"], b"out \r\n", b"err \r\n", 1),
        (["echo abc"], b"abc\r\n", b"", 0),
        (["echo  two  blanks "], b" two  blanks \r\n", b"", 0),
        (["echo."], b"\r\n", b"", 0),
        (["echo"], b"ECHO is on.\r\n", b"", 0),
        (["echo 1>&2 x"], b"", b" x\r\n", 0),
        (["echo x>nul"], b"", b"", 0),
        (["echo x 1>&2 2>nul"], b"", b"x  \r\n", 0),
        (["nothing.exe /x"], b"", UNKNOWN % b"nothing.exe", 1),
        (["nothing 2>&1"], UNKNOWN % b"nothing", b"", 1),
        (["exit 3"], b"", b"", 3),
        (["exit /b 4"], b"", b"", 4),
        (["exit -1"], b"", b"", 4294967295),
        (["exit 5 & echo never"], b"", b"", 5),
        (["nothing>nul 2>nul || echo saved"], b"saved\r\n", b"", 0),
        (["echo a&&nothing 2>nul&&echo never"], b"a\r\n", b"", 1),
        (["echo a& echo b"], b"a\r\nb\r\n", b"", 0),
        (["hostname"], b"web01\r\n", b"", 0),
        (["HOSTNAME.EXE"], b"web01\r\n", b"", 0),
        (["whoami"], b"web01\\sim\r\n", b"", 0),
        (["ver"], b"\r\nMicrosoft Windows [Version 10.0.20348.2849]\r\n", b"", 0),
        (["cd"], b"C:\\Users\\sim\r\n", b"", 0),
        (["cd /d D:\\x && cd"], b"D:\\x\r\n", b"", 0),
        (["echo %computername% %nothing%"], b"WEB01 %nothing%\r\n", b"", 0),
        (["set ZZ=b c&& set zz"], b"ZZ=b c\r\n", b"", 0),
        (["set ZZ=1& set ZZ=& set z"], b"", b"Environment variable z not defined\r\n", 1),
        (["set nothing"], b"", b"Environment variable nothing not defined\r\n", 1),
        (["type nul"], b"", b"", 0),
        (["type missing.txt"], b"", b"The system cannot find the file specified.\r\n", 1),
        (["timeout /t 0"], b"", b"", 0),
        ([""], b"", b"", 0),
        (["echo a^&b ^^"], b"a&b ^\r\n", b"", 0),
        (['echo "a & b ^ > c"& echo d'], b'"a & b ^ > c"\r\nd\r\n', b"", 0),
        (['echo ^"x^" ^| y'], b'"x" | y\r\n', b"", 0),
        (['echo %OS% "%OS%" ^%OS^%'], b'Windows_NT "Windows_NT" %OS%\r\n', b"", 0),
        (["for /l %i in (1,1,3) do @echo %i%i"], b"11\r\n22\r\n33\r\n", b"", 0),
        (["for /L %n in (3, -1, 2) do echo n%n>&2"], b"", b"n3\r\nn2\r\n", 0),
    ],
)  # fmt: skip
def test_command_lines(line: list[str], out: bytes, err: bytes, code: int) -> None:
    assert ran(*line) == (out, err, code)


def test_the_environment_of_the_shell_reaches_its_commands() -> None:
    name = "_-(){}[]&lt;&gt;*+-/\\?&quot;!@#$^&amp;|;:i,.`~0"
    variables = (
        f'<rsp:Environment><rsp:Variable Name="{name}">{name}</rsp:Variable>'
        '<rsp:Variable Name="1234">5678</rsp:Variable></rsp:Environment>'
    )
    out, _, code = ran("cmd.exe", "/c", "set", more=variables)
    lines = out.decode().split("\r\n")
    text = '_-(){}[]<>*+-/\\?"!@#$^&|;:i,.`~0'
    assert f"{text}={text}" in lines
    assert lines[0] == "1234=5678"
    assert "PROMPT=$P$G" in lines
    assert code == 0


def test_the_working_directory_is_taken_and_told() -> None:
    where = "<rsp:WorkingDirectory>C:\\Windows</rsp:WorkingDirectory>"
    assert ran("cd", more=where) == (b"C:\\Windows\r\n", b"", 0)

    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            assert (await client.post(create(more=where))).text("WorkingDirectory") == "C:\\Windows"

    run(main())


@pytest.mark.parametrize(
    ("page", "data"),
    [("65001", "ä€日".encode()), ("437", b"\x84??"), ("1252", b"\xe4\x80?"), ("932", b"?\x3f\x93\xfa")],
)
def test_output_is_in_the_code_page(page: str, data: bytes) -> None:
    out, _, _ = ran("echo ä€日", options=f'<w:Option Name="WINRS_CODEPAGE">{page}</w:Option>')
    assert out == data + b"\r\n"


def posted(*bodies: str) -> list[Reply]:
    """Answers to requests of a fresh host; `{shell}` and `{command}` in them are the newest ids."""

    async def main() -> list[Reply]:
        replies = []
        ids = {"{shell}": "", "{command}": ""}
        async with one_host() as fleet, await connected(fleet) as client:
            for body in bodies:
                for name, value in ids.items():
                    body = body.replace(name, value)
                reply = await client.post(body)
                replies.append(reply)
                if reply.status == 200:
                    ids["{shell}"] = reply.text("ShellId") or ids["{shell}"]
                    ids["{command}"] = reply.text("CommandId") or ids["{command}"]
        return replies

    return run(main())


def test_a_code_page_that_there_is_not_is_refused() -> None:
    (reply,) = posted(create(options='<w:Option Name="WINRS_CODEPAGE">99999</w:Option>'))
    assert reply.fault == 87


def test_without_cmd_a_program_needs_its_path_and_the_shell_goes_on() -> None:
    skip = '<w:Option Name="WINRS_SKIP_CMD_SHELL">TRUE</w:Option>'
    replies = posted(
        create(),
        command("{shell}", "ipconfig.exe", options=skip),
        command("{shell}", "ver"),
        signal("{shell}", "{command}"),
    )
    assert [reply.fault for reply in replies] == [0, 2147942402, 0, 0]


def test_input_reaches_a_command_and_its_end_ends_it() -> None:
    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            shell_id = (await client.post(create())).text("ShellId")
            command_id = (await client.post(command(shell_id, "more"))).text("CommandId")
            await client.post(send(shell_id, b"one\r\n", command_id))
            reply = await client.post(receive(shell_id, command_id))
            assert (streams(reply), state(reply)) == ([("stdout", b"one\r\n", False)], ("Running", None))
            assert (await client.post(receive(shell_id, command_id, timeout="PT0.01S"))).fault == 2150858793
            await client.post(send(shell_id, b"two", command_id, end=True))
            assert await outcome(client, shell_id, command_id) == (b"two", b"", 0)

    run(main())


def test_ctrl_c_stops_a_command() -> None:
    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            shell_id = (await client.post(create())).text("ShellId")
            command_id = (await client.post(command(shell_id, "timeout /t 600"))).text("CommandId")
            ctrl_c = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/ctrl_c"
            assert (await client.post(signal(shell_id, command_id, ctrl_c))).status == 200
            assert await outcome(client, shell_id, command_id) == (b"", b"", 0xC000013A)

    run(main())


def test_what_goes_on_after_ctrl_c_is_ended_by_terminate() -> None:
    ctrl_c = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell/signal/ctrl_c"

    async def main() -> None:
        async with one_host() as fleet, await connected(fleet) as client:
            shell_id = (await client.post(create())).text("ShellId")
            line = "echo on& timeout /t 600 /nobreak"
            command_id = (await client.post(command(shell_id, line))).text("CommandId")
            assert streams(await client.post(receive(shell_id, command_id))) == [("stdout", b"on\r\n", False)]
            await client.post(signal(shell_id, command_id, ctrl_c))
            assert (await client.post(receive(shell_id, command_id, timeout="PT0.05S"))).fault == 2150858793
            await client.post(signal(shell_id, command_id))
            assert (await client.post(receive(shell_id, command_id))).fault == 2150858843

    run(main())


def test_a_deleted_shell_stops_its_commands() -> None:
    replies = posted(create(), command("{shell}", "timeout /t 600"), on_shell("Delete", "{shell}"))
    assert [reply.status for reply in replies] == [200, 200, 200]
