"""Each reader over what is kept of earlier searches, and some thousand changes of it: the same in each run."""

from __future__ import annotations

import random

import pytest

from remotejobs.errors import ProtocolError
from tests.fuzz.corpus import CORPUS, kept, minimised
from tests.fuzz.harness import MEMORY, Finding, Target, Tracer, measure
from tests.fuzz.mutations import mutate
from tests.fuzz.targets import TARGETS

EXECUTIONS = 400


@pytest.mark.parametrize("name", TARGETS)
def test_only_errors_of_ours(name: str) -> None:
    target, tracer = TARGETS[name], Tracer()
    corpus = [*target.seeds, *kept(name)]
    for data in corpus:
        tracer.run(target.run, data, target.allowed(data))
        measure(target.run, data, target.memory)
    rng = random.Random(name)
    for _ in range(EXECUTIONS):
        data = mutate(rng, corpus, target.words)
        try:
            tracer.run(target.run, data, target.allowed(data))
        except Finding as finding:
            pytest.fail(f"{name} {finding}: {data!r}")


def test_the_corpus_is_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in files} == set(TARGETS)
    assert len(files) <= 300
    assert sum(path.stat().st_size for path in files) <= 500_000


def _broken(data: bytes) -> None:
    if data == b"index":
        [][1]
    if data == b"ours":
        raise ProtocolError("no")


def test_a_foreign_error_is_found() -> None:
    tracer = Tracer()
    tracer.run(_broken, b"ours", 100)
    with pytest.raises(Finding, match="raises IndexError"):
        tracer.run(_broken, b"index", 100)


def test_an_endless_loop_is_found() -> None:
    from remotejobs.wsman.clixml.values import text

    def endless(data: bytes) -> None:
        while True:
            text(None)

    with pytest.raises(Finding, match="1000 lines"):
        Tracer().run(endless, b"", 1000)


def test_much_memory_is_found() -> None:
    measure(lambda data: bytes(MEMORY[0] // 2), b"")
    with pytest.raises(Finding, match="bytes of memory"):
        measure(lambda data: bytes(MEMORY[0] * 2), b"")


def test_what_leads_to_new_lines_is_kept() -> None:
    """From one seed the search finds the way into elements that the seed has not."""
    target = Target(TARGETS["clixml"].run, (b"<S>x</S>",), (b"<Nil/>", b"<LST>", b"</LST>", b"<Obj>", b"</Obj>"))
    tracer, rng, corpus = Tracer(), random.Random(1), [b"<S>x</S>", b"<Obj><LST><Nil/></LST></Obj>"]
    seen = tracer.run(target.run, corpus[0], target.allowed(corpus[0]))
    assert not tracer.run(target.run, corpus[1], target.allowed(corpus[1])) <= seen
    assert minimised(tracer, target, corpus) == corpus[1:]
    assert len({mutate(rng, corpus, target.words) for _ in range(200)}) > 100
