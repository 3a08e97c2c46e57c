"""The WS-Man service of a simulated host: what it takes and refuses, shells, quotas and clocks."""

from __future__ import annotations

from typing import Any

import pytest

from remotejobs.sim import soap
from remotejobs.sim.wsman_faults import WsmanFault
from tests.sim.scene import PIPELINE, POOL, Scene
from tests.sim.wire import (
    CMD,
    ENUMERATION,
    POWERSHELL,
    SHELL,
    TRANSFER,
    PuppetShell,
    command,
    connected,
    create,
    envelope,
    host_of,
    on_shell,
    one_host,
    receive,
    run,
    send,
    signal,
)


@pytest.mark.parametrize(
    ("request_body", "code", "subcode", "action"),
    [
        (b"no xml", 2150858819, "w:SchemaValidationError", "wsman"),
        (b"", 2150858819, "w:SchemaValidationError", "wsman"),
        (b"<a/>", 2150858791, "w:SchemaValidationError", "wsman"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', 2150858819, "w:SchemaValidationError", "wsman"),
        (create(timeout="PT-1S"), 2150858767, "a:InvalidMessageInformationHeader", "addressing"),
        (create(timeout="soon"), 2150858767, "a:InvalidMessageInformationHeader", "addressing"),
        (create(size=8191), 2150858878, "w:EncodingLimit", "wsman"),
        (create(headers="<x xmlns='urn:x' s:mustUnderstand='true'/>"), 2150858768, "", "addressing"),
        (create(headers=f"<rsp:CompressionType xmlns:rsp='{SHELL}' s:mustUnderstand='1'>xpress</rsp:CompressionType>"),
         2150858768, "", "addressing"),
        (create(message_id=" "), 2150858769, "a:MessageInformationHeaderRequired", "addressing"),
        (envelope(""), 2150858769, "a:MessageInformationHeaderRequired", "addressing"),
        (envelope("urn:Explode"), 2150858753, "a:ActionNotSupported", "addressing"),
        (create("http://schemas.microsoft.com/unknown"), 2150858811, "a:DestinationUnreachable", "addressing"),
        (create(options="<w:Option Name='FLY' MustComply='1'>1</w:Option>"), 2150858809, "w:InvalidOptions", "wsman"),
        (envelope(f"{TRANSFER}/Create", "<x/>"), 2150858817, "w:SchemaValidationError", "wsman"),
        (envelope(f"{TRANSFER}/Get", resource="http://schemas.microsoft.com/wbem/wsman/1/wmi/root/cimv2/Win32_Service"),
         2150858811, "a:DestinationUnreachable", "addressing"),
        (envelope(f"{TRANSFER}/Delete"), 2150858842, "w:InvalidSelectors", "wsman"),
        (envelope(f"{TRANSFER}/Delete", selectors={"ShellId": "X", "Other": "Y"}), 2150858843, "w:InvalidSelectors",
         "wsman"),
        (on_shell("Delete", POOL), 2150858843, "w:InvalidSelectors", "wsman"),
        (create(headers="<w:SelectorSet><w:Selector Name='a'/><w:Selector Name='A'/></w:SelectorSet>"), 2150858845,
         "w:InvalidSelectors", "wsman"),
        (envelope(f"{ENUMERATION}/Enumerate", "<n:Enumerate><w:OptimizeEnumeration/><w:MaxElements>0</w:MaxElements>"
                  "</n:Enumerate>", resource=SHELL), 2150858817, "w:SchemaValidationError", "wsman"),
        (envelope(f"{ENUMERATION}/Pull", "<n:Pull><n:EnumerationContext>uuid:X</n:EnumerationContext></n:Pull>",
                  resource=SHELL), 2150858779, "n:InvalidEnumerationContext", "enumeration"),
        (envelope(f"{ENUMERATION}/Enumerate", "<n:Enumerate><w:OptimizeEnumeration/></n:Enumerate>",
                  resource=f"{SHELL}/Command"), 2150859200, "w:InvalidParameter", "wsman"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_a_fault(request_body: bytes | str, code: int, subcode: str, action: str) -> None:
    async def main() -> None:
        async with Scene() as scene:
            reply = await scene.client.post(request_body)
            assert (reply.status, reply.fault, reply.subcode) == (500, code, subcode)
            assert f"/{action}/" in reply.text("Action")
            assert reply.action == "fault"
            assert host_of(scene.fleet).counters.faults == {code: 1}
            assert (await scene.post(create())).status == 200  # and the host goes on

    run(main())


def test_what_is_not_namespaced_need_not_be_understood() -> None:
    """Pywinrm writes mustUnderstand without a namespace; Windows does not mind."""

    async def main() -> None:
        async with Scene() as scene:
            assert (await scene.post(create(headers="<x xmlns='urn:x' mustUnderstand='true'/>"))).status == 200
            assert (await scene.post(create(headers="<x xmlns='urn:x' s:mustUnderstand='false'/>"))).status == 200

    run(main())


def test_prefixes_do_not_matter() -> None:
    async def main() -> None:
        async with Scene() as scene:
            text = create().replace("rsp:", "q:").replace("xmlns:rsp", "xmlns:q").replace("w:", "ww:")
            reply = await scene.post(text.replace("xmlns:w=", "xmlns:ww="))
            assert reply.action == "CreateResponse"

    run(main())


def test_answers_relate_to_their_request() -> None:
    async def main() -> None:
        async with Scene() as scene:
            reply = await scene.post(create(message_id="uuid:0000aaaa-<>&amp;"[:14]))
            assert reply.text("RelatesTo") == "uuid:0000aaaa-"
            assert reply.text("MessageID").startswith("uuid:")
            assert reply.text("To").endswith("/role/anonymous")
            assert reply.xml.find(".//{*}ActivityId") is not None

    run(main())


def test_older_hosts_have_no_activity_id_and_make_up_ids() -> None:
    async def main() -> None:
        async with Scene(activity_id=False, invents_ids=True) as scene:
            reply = await scene.post(create(POWERSHELL, POOL))
            shell_id = reply.text("ShellId")
            assert reply.xml.find(".//{*}ActivityId") is None
            assert shell_id != POOL
            started = await scene.post(command(shell_id, "", "AAAA", command_id=PIPELINE, resource=POWERSHELL))
            assert started.text("CommandId") not in ("", PIPELINE)

    run(main())


def test_a_request_longer_than_the_limit_is_refused() -> None:
    async def main() -> None:
        async with Scene(max_envelope_size=16384) as scene:
            reply = await scene.post(create(more="<!--" + "x" * 20000 + "-->"))
            assert (reply.fault, reply.subcode) == (2150858824, "w:EncodingLimit")

    run(main())


def test_identify_without_a_logon_does_not_tell_the_version() -> None:
    body = (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body><i:Identify '
        'xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"/></s:Body></s:Envelope>'
    )

    async def main() -> None:
        async with Scene() as scene:
            assert "10.0" in (await scene.post(body)).text("ProductVersion")
            anonymous = "WSMANIDENTIFY: unauthenticated\r\n"
            reply = await scene.client.post(body, logon=None, more=anonymous)
            assert reply.text("ProductVersion") == "OS: 0.0.0 SP: 0.0 Stack: 3.0"
            reply = await scene.client.post(create(), logon=None, more=anonymous)
            assert reply.fault == 5

    run(main())


def test_the_configuration_says_what_the_host_allows() -> None:
    async def main() -> None:
        async with Scene(max_envelope_size=153600, max_shells=7) as scene:
            reply = await scene.post(envelope(f"{TRANSFER}/Get", resource=soap.CONFIG))
            assert (reply.text("MaxEnvelopeSizekb"), reply.text("MaxShellsPerUser")) == ("150", "7")

    run(main())


def test_a_shell_is_known_by_its_id_in_any_case_until_it_is_deleted() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            puppet = scene.powershell.last
            assert puppet.calls == [("create", b"\0\0\0")]
            assert (await scene.post(on_shell("Get", POOL.lower(), resource=SHELL))).text("ShellId") == POOL
            assert (await scene.post(on_shell("Delete", POOL.lower(), resource=POWERSHELL))).status == 200
            assert puppet.calls[-1] == ("close",)
            assert (await scene.post(on_shell("Delete", POOL, resource=POWERSHELL))).fault == 2150858843
            assert host_of(scene.fleet).counters.shells == 0

    run(main())


def test_an_id_that_is_taken_is_refused() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            assert (await scene.post(create(POWERSHELL, POOL))).fault == 2150859202
            await scene.pipeline()
            again = await scene.post(command(POOL, "", "AAAA", command_id=PIPELINE.lower(), resource=POWERSHELL))
            assert again.fault == 2150859202
            assert host_of(scene.fleet).counters.commands == 1

    run(main())


def test_a_shell_belongs_to_its_resource() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await scene.pool()
            assert (await scene.post(on_shell("Delete", POOL, resource=CMD))).fault == 2150858843

    run(main())


def test_what_a_command_is_given_reaches_the_shell() -> None:
    async def main() -> None:
        async with Scene() as scene:
            shell_id = (await scene.post(create(options='<w:Option Name="WINRS_CODEPAGE">65001</w:Option>'))).text(
                "ShellId"
            )
            puppet = scene.cmd.last
            options = '<w:Option Name="WINRS_SKIP_CMD_SHELL">TRUE</w:Option>'
            command_id = (await scene.post(command(shell_id, "a", "b c", "<d>", options=options))).text("CommandId")
            assert puppet.host.options == {"WINRS_CODEPAGE": "65001"}
            assert puppet.calls[-1] == ("command", command_id, "a", ["b c", "<d>"], {"WINRS_SKIP_CMD_SHELL": "TRUE"})
            await scene.post(send(shell_id, b"\x00\xff", command_id.lower(), end=True))
            sent: tuple[Any, ...] = puppet.calls[-1]
            assert sent == ("send", "stdin", b"\x00\xff", command_id, True)

    run(main())


def test_a_shell_may_refuse() -> None:
    class Refusing(PuppetShell):
        def command(self, command_id: str, command: str, arguments: list[str], options: dict[str, str]) -> None:
            raise WsmanFault(2147942402)

    async def main() -> None:
        async with one_host(factories={CMD: Refusing}) as fleet, await connected(fleet) as client:
            shell_id = (await client.post(create())).text("ShellId")
            assert (await client.post(command(shell_id, "a", command_id=PIPELINE))).fault == 2147942402
            assert (await client.post(receive(shell_id, PIPELINE))).fault == 2150858843
            assert host_of(fleet).counters.commands == 0

    run(main())


@pytest.mark.parametrize("wmi", [False, True])
def test_shells_have_a_quota(wmi: bool) -> None:
    async def main() -> None:
        async with Scene(max_shells=2, quota_as_wmi_error=wmi) as scene:
            shells = [(await scene.post(create())).text("ShellId") for _ in range(2)]
            reply = await scene.post(create())
            assert reply.status == 500
            if wmi:
                assert reply.fault == 0
                assert reply.text("error_Code") == "2150859173"
                assert reply.subcode == "w:InternalError"
            else:
                assert (reply.fault, reply.subcode) == (2150859173, "w:QuotaLimit")
            await scene.post(on_shell("Delete", shells[0]))
            assert (await scene.post(create())).status == 200
            assert host_of(scene.fleet).counters.most_shells == 2

    run(main())


def test_commands_have_a_quota_which_cmd_shells_use_up() -> None:
    async def main() -> None:
        async with Scene(max_operations=2) as scene:
            await scene.pool()
            for _ in range(3):  # a pipeline that ends is no operation any more
                await scene.pipeline()
                scene.powershell.last.sink.command_state(PIPELINE, "Done", 0)
            shell_id = (await scene.post(create())).text("ShellId")
            for _ in range(2):
                command_id = (await scene.post(command(shell_id, "x"))).text("CommandId")
                scene.cmd.last.sink.command_state(command_id, "Done", 0)
                await scene.post(signal(shell_id, command_id))
            assert (await scene.post(command(shell_id, "x"))).fault == 2150859174
            await scene.post(on_shell("Delete", shell_id))
            await scene.pipeline()

    run(main())


@pytest.mark.parametrize(
    ("text", "value"),
    [("PT20S", 20), ("PT60.000S", 60), ("PT0.5S", 0.5), ("PT3M", 180), ("P1DT2H3M4S", 93784), ("PT0S", 0)],
)
def test_durations(text: str, value: float) -> None:
    assert soap.seconds(text) == value


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "20", "-PT1S", "PT-1S", "P1Y", "PT1S1M", "PT1.5M", "PT" + "9" * 99 + "S"]
)
def test_no_durations(text: str) -> None:
    with pytest.raises(WsmanFault):
        soap.seconds(text)
