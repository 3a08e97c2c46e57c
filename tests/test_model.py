from __future__ import annotations

import pytest

from remotejobs.model import JobSpec, ScriptCommand, Target


@pytest.mark.parametrize(
    ("target", "url", "host"),
    [
        (Target("web01"), "http://web01:5985/wsman", "web01"),
        (Target("web01", ssl=True), "https://web01:5986/wsman", "web01"),
        (
            Target("web01", address="10.0.0.1", port=80, application="/PowerShell"),
            "http://web01:80/PowerShell",
            "10.0.0.1",
        ),
        (Target("[::1]"), "http://[::1]:5985/wsman", "::1"),
        (Target("[fe80::1%eth0]"), "http://[fe80::1%25eth0]:5985/wsman", "fe80::1%eth0"),
        (Target("a", address="[::2]"), "http://a:5985/wsman", "::2"),
    ],
)
def test_where_a_target_is_reached(target: Target, url: str, host: str) -> None:
    endpoint = JobSpec(ScriptCommand("1"), (target,)).endpoint(target)
    assert (endpoint.url, endpoint.host) == (url, host)


def test_a_throttle_limit_below_one_is_the_default() -> None:
    assert [JobSpec(ScriptCommand("1"), (), throttle_limit=n).slots for n in (-5, 0, 1, 99)] == [32, 32, 1, 99]


@pytest.mark.parametrize(
    ("names", "job", "called"),
    [
        ((), "", ["remotejobs"] * 3),
        ((), "Nightly", ["Nightly"] * 3),
        (("one",), "Nightly", ["one"] * 3),
        (("a", "b"), "", ["a", "b", "remotejobs"]),
        (("a", "b", "c", "d"), "", ["a", "b", "c"]),
    ],
)
def test_what_the_shells_of_a_job_are_called(names: tuple[str, ...], job: str, called: list[str]) -> None:
    spec = JobSpec(ScriptCommand("1"), (), name=job, session_names=names)
    assert [spec.shell_name(index) for index in range(3)] == called
