"""Long lists of a simulated host come in pages: MaxElements, Pull and Release."""

from __future__ import annotations

import pytest
from lxml import etree

from remotejobs.sim import soap
from remotejobs.sim.enumerations import Enumerations
from remotejobs.sim.shells import HostSettings
from remotejobs.sim.wsman_faults import WsmanFault
from tests.sim.scene import Scene
from tests.sim.wire import ENUMERATION, SHELL, Reply, create, envelope, names, run


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def enumerate_(inside: str = "<w:OptimizeEnumeration/>") -> str:
    return envelope(f"{ENUMERATION}/Enumerate", f"<n:Enumerate>{inside}</n:Enumerate>", resource=SHELL)


def on(context: str, operation: str = "Pull", count: int = 2) -> str:
    body = f"<n:EnumerationContext>{context}</n:EnumerationContext>"
    if operation == "Pull":
        body += f"<n:MaxElements>{count}</n:MaxElements>"
    return envelope(f"{ENUMERATION}/{operation}", f"<n:{operation}>{body}</n:{operation}>", resource=SHELL)


def parts(reply: Reply) -> tuple[int, list[str]]:
    """How many items, and what the answer has beside them."""
    found = reply.xml.find("{*}Body/*")
    assert found is not None
    items = [element for part in found if etree.QName(part).localname == "Items" for element in part]
    return len(items), [name for name in names(list(found)) if name != "Items"]


async def shells(scene: Scene, count: int) -> None:
    for _ in range(count):
        assert (await scene.post(create())).status == 200


def test_a_list_comes_in_pages() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await shells(scene, 5)
            first = await scene.post(enumerate_("<w:OptimizeEnumeration/><w:MaxElements>2</w:MaxElements>"))
            assert parts(first) == (2, ["EnumerationContext"])
            second = await scene.post(on(first.text("EnumerationContext")))
            assert second.action == "PullResponse"
            assert parts(second) == (2, ["EnumerationContext"])
            assert second.text("EnumerationContext") != first.text("EnumerationContext")
            assert (await scene.post(on(first.text("EnumerationContext")))).fault == 2150858779
            assert parts(await scene.post(on(second.text("EnumerationContext")))) == (1, ["EndOfSequence"])
            whole = await scene.post(enumerate_("<w:OptimizeEnumeration/><w:MaxElements>5</w:MaxElements>"))
            assert parts(whole) == (5, ["EnumerationContext", "EndOfSequence"])
            assert whole.text("EnumerationContext") == ""

    run(main())


def test_without_a_count_one_comes_at_a_time_and_the_long_way_begins_with_none() -> None:
    async def main() -> None:
        async with Scene() as scene:
            await shells(scene, 2)
            assert parts(await scene.post(enumerate_())) == (1, ["EnumerationContext"])
            begun = await scene.post(enumerate_(""))
            assert parts(begun) == (0, ["EnumerationContext"])
            assert parts(await scene.post(on(begun.text("EnumerationContext")))) == (2, ["EndOfSequence"])

    run(main())


def test_a_context_is_given_back() -> None:
    async def main() -> None:
        async with Scene(max_enumerations=1) as scene:
            await shells(scene, 2)
            context = (await scene.post(enumerate_())).text("EnumerationContext")
            assert (await scene.post(enumerate_())).fault == 2150859174
            released = await scene.post(on(context, "Release"))
            assert (released.action, len(released.xml.findall("{*}Body/*"))) == ("ReleaseResponse", 0)
            assert (await scene.post(on(context))).fault == 2150858779
            assert (await scene.post(enumerate_())).status == 200

    run(main())


def test_a_context_is_forgotten() -> None:
    time = Time()
    enumerations = Enumerations(HostSettings(enumeration_timeout=240, max_enumerations=1), time)
    begun = etree.fromstring(f'<n:Enumerate xmlns:n="{ENUMERATION}" xmlns:w="{soap.WSMAN}"/>')

    def context() -> str:
        return enumerations.begin(begun, ["<x/>"]).partition("<n:EnumerationContext>")[2].partition("<")[0]

    pull = f'<n:Pull xmlns:n="{ENUMERATION}"><n:EnumerationContext>{context()}</n:EnumerationContext></n:Pull>'
    time.now += 240
    with pytest.raises(WsmanFault, match="context"):
        enumerations.pull(etree.fromstring(pull))
    assert context()
    time.now += 240
    assert context()
