"""One client, one run, in a process of its own: prints its CPU, wall time and memory as JSON.

python -m tests.bench.client --engine remotejobs --hosts 1000 --ports 5985 --scheme http
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any


def memory() -> int:
    """Resident bytes of this process now; 0 where the system does not say it this way."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0


def remotejobs(args: argparse.Namespace, targets: list[tuple[str, int]]) -> dict[str, Any]:
    from remotejobs import compose
    from remotejobs.api.invoke import start
    from remotejobs.auth.credentials import Credential, Secret
    from remotejobs.compose import open_store
    from remotejobs.jobs.received import ReceivedRecord
    from remotejobs.model import JobSpec, ScriptCommand, SessionOption, Target

    assert compose
    result: dict[str, Any] = {}

    async def sample() -> None:
        while True:
            await asyncio.sleep(0.02)
            result["peak"] = max(result.get("peak", 0), memory())

    async def main(count: int) -> None:
        spec = JobSpec(
            ScriptCommand("Get-Service"),
            tuple(Target(f"h{n}", address=host, port=port) for n, (host, port) in enumerate(targets[:count])),
            throttle_limit=args.slots,
            authentication=args.authentication,
            use_ssl=args.scheme == "https",
            session_option=SessionOption(
                allow_unencrypted=args.authentication == "Basic",
                ca_file=args.ca,
                skip_cn_check=True,
                max_connection_retry_count=5,
            ),
        )
        result.update(records=0, completed=0)
        sampler = asyncio.create_task(sample()) if args.memory else None
        store = open_store(Path(args.store) / f"{count}.db") if args.store else None
        job = await start(spec, {"": Credential(args.user, Secret(args.password))}, store=store)
        async for item in job.events():
            if isinstance(item, ReceivedRecord):
                result["records"] += 1
                if args.decode:
                    assert item.value is not None
            else:
                result["completed"] += item.outcome.reason == "Completed"
                if item.outcome.reason != "Completed":
                    result["failure"] = item.outcome.message
        result["ended"] = time.perf_counter()  # every outcome is known; the last shells are still being deleted
        await job.wait()
        if store:
            store.close()
        if sampler:
            sampler.cancel()

    if args.uvloop:
        import uvloop

        run: Any = uvloop.run
    else:
        run = asyncio.run
    run(main(1))  # imports and caches of the first use are not what is compared
    begin = (time.process_time(), time.perf_counter(), memory())
    run(main(len(targets)))
    return measured(result, begin)


def pypsrp(args: argparse.Namespace, targets: list[tuple[str, int]]) -> dict[str, Any]:
    import warnings

    from pypsrp.powershell import PowerShell, RunspacePool
    from pypsrp.wsman import WSMan

    warnings.simplefilter("ignore")

    numbers = itertools.count()

    def one(target: tuple[str, int]) -> int:
        host, port = target
        verify: Any = args.ca or False
        with (
            WSMan(
                host,
                port=port,
                username=args.user,
                password=args.password,
                auth={"Basic": "basic", "Negotiate": "ntlm", "Kerberos": "kerberos"}[args.authentication],
                ssl=args.scheme == "https",
                encryption="never" if args.authentication == "Basic" else "always",
                cert_validation=verify,
                no_proxy=True,
                negotiate_hostname_override=f"h{next(numbers) % args.hosts}",
                negotiate_service="host",
            ) as wsman,
            RunspacePool(wsman) as pool,
        ):
            shell = PowerShell(pool)
            shell.add_script("Get-Service")
            return len(shell.invoke())

    return threaded(args, targets, one)


def pywinrm(args: argparse.Namespace, targets: list[tuple[str, int]]) -> dict[str, Any]:
    from winrm.protocol import Protocol

    def one(target: tuple[str, int]) -> int:
        host, port = target
        protocol = Protocol(
            f"{args.scheme}://{host}:{port}/wsman",
            transport="basic" if args.scheme == "https" else "plaintext",
            username="sim",
            password="sim",
            ca_trust_path=args.ca,
            server_cert_validation="validate" if args.ca else "ignore",
        )
        shell = protocol.open_shell()
        command = protocol.run_command(shell, "sc", ["query"])
        out, _, _ = protocol.get_command_output(shell, command)
        protocol.cleanup_command(shell, command)
        protocol.close_shell(shell)
        return len(out.splitlines())

    return threaded(args, targets, one)


def threaded(args: argparse.Namespace, targets: list[tuple[str, int]], one: Any) -> dict[str, Any]:
    one(targets[0])  # as above
    begin = (time.process_time(), time.perf_counter(), memory())
    with ThreadPoolExecutor(args.slots) as pool:
        counts = list(pool.map(one, targets))
    return measured({"records": sum(counts), "completed": sum(c > 0 for c in counts)}, begin)


def measured(result: dict[str, Any], begin: tuple[float, float, int]) -> dict[str, Any]:
    return {
        **result,
        "outcomes": result.get("ended", time.perf_counter()) - begin[1],
        "cpu": time.process_time() - begin[0],
        "wall": time.perf_counter() - begin[1],
        "memory": max(result.get("peak", 0), memory()) - begin[2],
    }


def main() -> None:
    gc.set_threshold(10_000)  # as the command does; every client has the good of it
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=["remotejobs", "pypsrp", "pywinrm"], required=True)
    parser.add_argument("--hosts", type=int, required=True)
    parser.add_argument("--address", default="127.0.0.1:5985", help="comma list; hosts are spread over it")
    parser.add_argument("--scheme", default="http")
    parser.add_argument("--authentication", default="Basic", help="sealed over http, unless it is Basic")
    parser.add_argument("--user", default="sim")
    parser.add_argument("--password", default="sim")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--ca")
    parser.add_argument("--decode", action="store_true")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--store", help="a folder for the SQLite ledger; else in memory")
    parser.add_argument("--uvloop", action="store_true")
    args = parser.parse_args()
    addresses = [(a.rpartition(":")[0], int(a.rpartition(":")[2])) for a in args.address.split(",")]
    targets = [addresses[n % len(addresses)] for n in range(args.hosts)]
    json.dump(globals()[args.engine](args, targets), sys.stdout)


if __name__ == "__main__":
    main()
