"""Recordings: what is noted of each item, what is said of it, what is kept out of it, and how it is shown."""

from __future__ import annotations

import gc
import inspect
import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudfiles_hypha import ArtifactFiles, BatchError, RetryPolicy
from cloudfiles_hypha.backends import memory
from cloudfiles_hypha.cli.main import main
from cloudfiles_hypha.recording import Recording, record
from cloudfiles_hypha.recording.flights import CURRENT, UNKNOWN, Flight, Log, Row, Span, queued
from cloudfiles_hypha.recording.machine import Sample
from cloudfiles_hypha.recording.measures import NOT_KNOWN, binned, covered, judge, levels, percentiles, summarize
from tests.support.clients import connect
from tests.support.fake_hypha import FakeHypha
from tests.support.object_server import Delay, Drop, ObjectServer, Status

SECRET = "c2lnbmF0dXJlLXRoYXQtaXMtc2VjcmV0"


@pytest.fixture
def cf(object_server: ObjectServer, quick: RetryPolicy) -> Iterator[ArtifactFiles]:
    for number in range(20):
        object_server.put(f"base/{number}", b"x" * 100)
    with ArtifactFiles(f"{object_server.url}/base", num_threads=4, retry=quick) as files:
        yield files


def row(**values: Any) -> Row:
    given = {
        "queued": 0.0,
        "signed": UNKNOWN,
        "start": 0.0,
        "first_byte": 0.5,
        "end": 1.0,
        "waited": 0.0,
        "served": 1.0,
    }
    return Row(
        **{"path": "a", **given, "bytes": 10, "attempts": 1, "worker": 0, "error": "", "host": "h", "verified": ""}
        | values
    )


def recording_of(*rows: Row) -> Recording:
    recording = Recording()
    for each in rows:
        recording.log.add(each)
    recording.log.busy = max((each.end for each in rows), default=0.0)
    return recording


# --- What is noted ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["curl", "urllib3", "requests"])
def test_each_item_is_noted_with_its_times_in_order(
    object_server: ObjectServer, quick: RetryPolicy, transport: str
) -> None:
    object_server.put("base/a", b"x" * 100)
    files = ArtifactFiles(f"{object_server.url}/base", num_threads=2, retry=quick, transport=transport)
    with files as cf, cf.recording() as rec:
        cf.get(["a"])
    (only,) = rec
    assert (only.path, only.bytes, only.attempts, only.error, only.verified) == ("a", 100, 1, "", "length")
    assert 0 <= only.queued <= only.start <= only.first_byte <= only.end
    assert only.host == object_server.url.partition("//")[2]


def test_bytes_are_those_that_moved(cf: ArtifactFiles) -> None:
    with cf.recording() as rec:
        cf.get([{"path": "0", "start": 10, "end": 30}, "1"])
        cf.head(["2"])
        cf.get([{"path": "3", "into": bytearray(100)}])
    assert {each.path: each.bytes for each in rec} == {"0": 20, "1": 100, "2": 0, "3": 100}


def test_a_stream_and_a_copy_are_noted_with_when_they_were_begun(cf: ArtifactFiles, tmp_path: Path) -> None:
    with record() as rec, ArtifactFiles(f"file://{tmp_path}/to") as target:
        target.puts([("stream", iter([b"12", b"345"]))])
        target.transfer_from(cf, ["0"])
    assert [(each.path, each.bytes, each.error) for each in rec] == [("stream", 5, ""), ("0", 100, "")]
    assert all(0 <= each.queued <= each.start <= each.end for each in rec)


def test_a_large_file_in_parts_is_one_item(object_server: ObjectServer, tmp_path: Path) -> None:
    object_server.put("base/large", b"x" * 3_000_000)
    with ArtifactFiles(f"{object_server.url}/base", num_threads=3) as cf, cf.recording() as rec:
        cf.download(["large"], tmp_path, part_size=1_000_000)
    (only,) = rec
    assert (only.bytes, only.error) == (3_000_000, "")
    assert 0 <= only.start <= only.first_byte <= only.end


def test_a_single_read_is_noted_too(cf: ArtifactFiles) -> None:
    with cf.recording() as rec:
        cf.get("7")
    assert [each.path for each in rec] == ["7"]


def test_attempts_failures_and_refusals_are_counted_and_the_waits_between_them(
    cf: ArtifactFiles, object_server: ObjectServer
) -> None:
    object_server.put("base/busy", b"b", faults=[Status(503), Status(429)])
    object_server.put("base/torn", b"b" * 100, faults=[Drop(after_bytes=10)])
    with cf.recording() as rec:
        cf.get(["busy", "torn", "0"])
    attempts = {each.path: each.attempts for each in rec}
    waited = {each.path: each.waited for each in rec}
    summary = rec.summary()
    assert attempts == {"busy": 3, "torn": 2, "0": 1}
    assert waited["busy"] > 0
    assert (summary.retries, summary.refused) == (3, 2)


def test_what_failed_is_noted_by_its_kind(cf: ArtifactFiles) -> None:
    with cf.recording() as rec, pytest.raises(BatchError):
        cf.get(["0", "missing"])
    assert {each.path: each.error for each in rec} == {"0": "", "missing": "ObjectNotFound"}
    assert rec.summary().failed == 1


def test_names_that_are_resolved_are_noted_as_signed() -> None:
    with FakeHypha() as server:
        server.add_artifact("ws/a", {"x": b"1", "y": b"2"})
        with connect(server) as cf, cf.recording() as rec:
            cf.get(["x", "y"])
    assert all(0 <= each.queued <= each.signed <= each.start for each in rec)
    assert sum(span.names for span in rec.log.signings) == 2


def test_files_on_disk_are_noted_both_ways(cf: ArtifactFiles, tmp_path: Path) -> None:
    results, rec = cf.download(["0", "1"], tmp_path, return_recording=True)
    assert [result["error"] for result in results] == [None, None]
    assert [(each.bytes, each.error) for each in rec] == [(100, ""), (100, "")]
    with ArtifactFiles(f"file://{tmp_path}/up") as folder:
        _, rec = folder.upload([tmp_path / "0"], return_recording=True)
    assert [(each.path, each.bytes, each.host) for each in rec] == [("0", 100, "")]


def test_a_call_can_give_its_own_recording(cf: ArtifactFiles) -> None:
    results, rec = cf.get(["0", "1"], return_recording=True)
    cf.get(["2"])
    assert [len(result["content"]) for result in results] == [100, 100]
    assert sorted(each.path for each in rec) == ["0", "1"]


CALLS: dict[str, Callable[[ArtifactFiles, Path], tuple[Any, Recording]]] = {
    "get": lambda cf, _: cf.get(["0"], return_recording=True),
    "get_json": lambda cf, _: cf.get_json(["j"], return_recording=True),
    "puts": lambda cf, _: cf.puts([("0", b"new")], return_recording=True),
    "put_jsons": lambda cf, _: cf.put_jsons([("0", 1)], return_recording=True),
    "delete": lambda cf, _: cf.delete(["0"], return_recording=True),
    "download": lambda cf, folder: cf.download(["0"], folder, return_recording=True),
    "upload": lambda cf, folder: cf.upload([folder / "local"], return_recording=True),
    "transfer_to": lambda cf, _: cf.transfer_to("mem://rec-calls-other", ["0"], return_recording=True),
    "transfer_from": lambda cf, _: cf.transfer_from(cf.cloudpath, [("0", "2")], return_recording=True),
    "moves": lambda cf, _: cf.moves([("0", "2")], return_recording=True),
}


@pytest.mark.parametrize("verb", CALLS)
def test_every_verb_for_many_files_can_give_a_recording_of_its_call(verb: str, tmp_path: Path) -> None:
    (tmp_path / "local").write_bytes(b"L")
    with ArtifactFiles("mem://rec-calls") as cf:
        cf.puts([("0", b"0"), ("j", b"{}")])
        results, rec = CALLS[verb](cf, tmp_path)
        assert [result["error"] for result in results] == [None]
        assert len(rec) == (1 if verb != "moves" else 4)  # it is looked at before and after, too, and removed
        cf.delete(cf.list())


def test_what_a_verb_takes_is_told_with_its_help() -> None:
    verbs = {name for name, verb in vars(ArtifactFiles).items() if "return_recording" in _takes(verb)}
    assert verbs == {*CALLS}
    assert [*_takes(ArtifactFiles.delete)][:2] == ["self", "paths"]


def _takes(verb: object) -> list[str]:
    return [*inspect.signature(verb).parameters] if inspect.isfunction(verb) else []


def test_ranges_that_come_with_one_request_have_one_worker(cf: ArtifactFiles) -> None:
    with cf.recording() as rec:
        cf.get([{"path": "0", "start": 0, "end": 10}, {"path": "0", "start": 20, "end": 40}])
    assert [(each.bytes, each.worker) for each in rec] == [(10, 0), (20, 0)]
    assert rec.summary().most_at_once == 1


def test_what_another_thread_does_is_in_the_recording_of_an_object_but_not_in_that_of_a_call(
    cf: ArtifactFiles,
) -> None:
    with cf.recording() as all_of_it, record() as mine:
        thread = threading.Thread(target=lambda: cf.get(["5"]))
        thread.start()
        thread.join()
        cf.get(["6"])
    assert {each.path for each in all_of_it} == {"5", "6"}
    assert {each.path for each in mine} == {"6"}


def test_one_recording_can_be_of_several_places(cf: ArtifactFiles) -> None:
    with record() as rec, ArtifactFiles("mem://recorded") as other:
        cf.get(["0"])
        other.puts([("b", b"12")])
        other.delete("b")
    memory._buckets.pop("recorded")
    assert [(each.path, each.bytes) for each in rec] == [("0", 100), ("b", 2), ("b", 0)]


def test_nothing_is_noted_after_the_recording_nor_without_one(cf: ArtifactFiles) -> None:
    with cf.recording() as rec:
        cf.get(["0"])
    CURRENT.set(None)
    cf.get(["1"])
    cf.get("2")
    assert len(rec) == 1
    assert cf._batches.recording == ()
    gc.collect()
    assert CURRENT.get() is None


def test_observers_are_told_beside_a_recording(object_server: ObjectServer) -> None:
    told: list[str] = []

    class Watching:
        def started(self, item: Any) -> None:
            told.append("started")

        def moved(self, item: Any, size: int) -> None:
            told.append(f"moved {size}")

        def failed(self, item: Any, attempt: int, error: Exception) -> None:
            told.append("failed")

        def ended(self, item: Any, error: Exception | None) -> None:
            told.append("ended")

    object_server.put("base/a", b"x" * 5)
    with ArtifactFiles(f"{object_server.url}/base", observer=Watching()) as cf, cf.recording() as rec:
        cf.get(["a"])
    assert told == ["started", "moved 5", "ended"]
    assert [each.path for each in rec] == ["a"]


def test_several_processes_are_refused_while_one_records(cf: ArtifactFiles) -> None:
    with cf.recording(), pytest.raises(ValueError, match="recording"):
        cf.get(["0", "1"], parallel=2)


def test_what_a_worker_asks_for_after_an_item_has_ended_is_not_that_items() -> None:
    class Item:
        flight: Flight | None = None

    log = Log()
    (item,) = queued([Item()], (log,))
    flight = item.flight
    assert flight is not None
    flight.begin(lambda error: None)
    flight.landed([(0, {"path": "a", "attempts": 1, "verified": None, "error": None, "content": b"12"})])
    flight.served_in("http://elsewhere/x", 1.0, 2.0)
    flight.answered("http://elsewhere/x")
    (only,) = log
    assert (only.path, only.bytes, only.host, only.first_byte, only.served) == ("a", 2, "", UNKNOWN, 0.0)


def test_a_log_keeps_no_more_rows_than_it_may_and_counts_the_rest() -> None:
    log = Log(most=2)
    for _ in range(5):
        log.add(row())
    assert (len(log), log.left_out) == (2, 3)
    assert "3 more items" in str(summarize(log))


def test_a_row_takes_47_bytes_and_its_name() -> None:
    log = Log()
    for _ in range(10):
        log.add(row())
    assert len(log.rows) == 470


def test_a_worker_is_the_lowest_number_that_is_free() -> None:
    rows = [*recording_of(row(start=0.0, end=2.0), row(start=0.5, end=1.0), row(start=1.5, end=3.0))]
    assert [each.worker for each in rows] == [0, 1, 1]


# --- What is kept out ------------------------------------------------------------------------------------------------


def test_no_query_of_a_url_is_in_a_recording(object_server: ObjectServer, tmp_path: Path) -> None:
    object_server.put("base/a", b"1")
    with ArtifactFiles(f"{object_server.url}/base") as cf, cf.recording() as rec:
        cf.get([f"a?X-Amz-Signature={SECRET}"], raise_errors=False)
    with FakeHypha() as server:
        server.add_artifact("ws/a", {"x": b"1"})
        with connect(server) as signed, signed.recording() as second:
            signed.get(["x"])
    rec.report(tmp_path / "report.html")
    texts = [rec.to_json(), repr([*rec]), (tmp_path / "report.html").read_text(), second.to_json(), repr([*second])]
    assert all("ignature" not in text and SECRET not in text for text in texts)
    assert not any("?" in host for each in (rec, second) for host in each.log.hosts.texts)


# --- Files and merging -----------------------------------------------------------------------------------------------


def test_json_and_back_is_the_same(cf: ArtifactFiles, tmp_path: Path) -> None:
    with cf.recording() as rec:
        cf.get([str(number) for number in range(20)])
    rec.to_json(tmp_path / "rec.json")
    for source in (rec.to_json(), tmp_path / "rec.json", str(tmp_path / "rec.json")):
        back = Recording.from_json(source)
        for before, after in zip(rec, back, strict=True):
            assert before[0] == after[0]
            assert before[1:8] == pytest.approx(after[1:8], abs=1e-5)
            assert before[8:] == after[8:]
        assert back.began == rec.began


def test_json_that_is_no_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="not a recording"):
        Recording.from_json("{}")


def test_merged_recordings_have_one_clock() -> None:
    first, second = recording_of(row(path="a")), recording_of(row(path="b", signed=0.2))
    first.log.began, second.log.began = 1000.0, 1002.5
    first.log.cpu, second.log.failures = 0.5, 3
    merged = Recording.merge([second, first])
    by_path = {each.path: each for each in merged}
    assert merged.began == 1000.0
    assert (by_path["a"].start, by_path["b"].start, by_path["b"].signed) == pytest.approx((0.0, 2.5, 2.7))
    assert by_path["a"].signed == UNKNOWN
    summary = merged.summary()
    assert (summary.files, summary.retries) == (2, 3)
    assert summary.seconds == pytest.approx(2.0)
    assert summary.shares["cpu"] == pytest.approx(0.25)


def test_pandas_gets_a_row_for_each_item_and_nan_for_what_is_not_known(cf: ArtifactFiles) -> None:
    pytest.importorskip("pandas")
    with cf.recording() as rec:
        cf.get(["0", "1"])
    frame = rec.to_pandas()
    assert [*frame.columns] == [*Row._fields]
    assert len(frame) == 2
    assert frame["signed"].isna().all()


# --- What is said of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shares", "refused", "failures", "held_back"),
    [
        ({"waiting": 0.5, "cpu": 1.0}, 4, 5, "refusals"),
        ({"waiting": 0.5, "cpu": 1.0}, 1, 5, "failures"),
        ({"signing": 0.6}, 0, 0, "signing"),
        ({"cpu": 0.9, "latency": 0.9, "under way": 1.0}, 0, 0, "cpu"),
        ({"cpu": 0.6, "here": 0.5, "latency": 0.5, "under way": 1.0}, 0, 0, "cpu"),
        ({"machine cpu": 0.9, "latency": 0.9, "under way": 1.0}, 0, 0, "cpu"),
        ({"disk": 0.9, "body": 0.9, "under way": 1.0}, 0, 0, "disk"),
        ({"local": 0.9, "under way": 1.0}, 0, 0, "disk"),
        ({"latency": 0.9, "under way": 1.0}, 0, 0, "latency"),
        ({"body": 0.9, "under way": 1.0}, 0, 0, "bandwidth"),
        ({"body": 0.9, "under way": 0.2}, 0, 0, NOT_KNOWN),
        ({"body": 0.4, "latency": 0.4, "under way": 1.0}, 0, 0, NOT_KNOWN),
    ],
)
def test_what_held_a_transfer_back_goes_by_a_rule(
    shares: dict[str, float], refused: int, failures: int, held_back: str
) -> None:
    assert judge(shares, 10.0, refused, failures)[0] == held_back
    assert judge(shares, 0.01, refused, failures)[0] == NOT_KNOWN


def test_a_server_that_thinks_long_is_latency(cf: ArtifactFiles, object_server: ObjectServer) -> None:
    for number in range(4):
        object_server.put(f"base/slow{number}", b"x", faults=[Delay(0.3)])
    with cf.recording() as rec:
        cf.get([f"slow{number}" for number in range(4)])
    assert rec.summary().held_back == "latency"


def test_the_shares_are_those_of_the_rows() -> None:
    log = recording_of(
        row(start=0.0, first_byte=3.0, end=4.0, served=4.0), row(start=1.0, first_byte=2.0, end=5.0, served=2.0)
    ).log
    log.signings.append(Span(5.0, 7.0, 2))
    log.busy = 10.0
    log.cpu = 2.0
    shares = summarize(log, [Sample(1.0, 0, 0, 0, 0, 50.0, 0.25), Sample(2.0, 0, 0, 0, 0, 100.0, 0.75)]).shares
    assert shares == {
        "cpu": 0.2,
        "under way": 0.5,
        "waiting": 0.0,
        "latency": 0.5,
        "body": (1 + 1) / 8,
        "local": 0.0,
        "here": (0 + 2) / 8,
        "signing": 0.2,
        "disk": 0.5,
        "machine cpu": 0.75,
    }


def test_curves_keep_all_bytes_and_all_items() -> None:
    rows = [row(start=0.0, first_byte=1.0, end=3.0, bytes=400), row(start=3.9, first_byte=3.95, end=3.95, bytes=100)]
    assert binned(rows, 4.0, 4) == pytest.approx([0.0, 200.0, 200.0, 100.0])
    assert levels([(0.0, 2.0), (1.0, 2.0), (3.0, 4.0)]) == [(0.0, 1), (1.0, 2), (2.0, 0), (3.0, 1), (4.0, 0)]
    assert covered([(0.0, 2.0), (1.0, 2.0), (3.0, 4.0)]) == 3.0
    assert percentiles([*range(1, 101)]) == {50: 50, 90: 90, 99: 99, 100: 100}
    assert percentiles([]) == {}


def test_a_summary_reads_as_lines_and_as_a_table(cf: ArtifactFiles) -> None:
    with cf.recording() as rec:
        cf.get(["0", "1"])
    summary = rec.summary()
    text = str(summary)
    assert "files:" in text
    assert "200 B" in text
    assert f"held back by:     {summary.held_back}" in text
    assert summary._repr_html_().count("<tr>") == len(text.splitlines())
    assert json.loads(json.dumps(summary.to_dict()))["files"] == 2


def test_an_empty_recording_has_a_summary_and_a_report(tmp_path: Path) -> None:
    rec = Recording()
    assert rec.summary().held_back == NOT_KNOWN
    rec.report(tmp_path / "report.html")
    assert "Transfer report" in (tmp_path / "report.html").read_text()


# --- Pictures --------------------------------------------------------------------------------------------------------

HOSTILE = "<script>alert(1)</script>\u202egpj.\x1b[2J&"


def test_a_page_is_complete_in_itself_and_nothing_in_it_is_run(tmp_path: Path) -> None:
    rec = recording_of(row(path=HOSTILE), row(path="b", error="ObjectNotFound", host="h<b>"))
    rec.machine = [Sample(0.5, 1e6, 1e5, 0, 0, 50.0, 0.2), Sample(1.0, 2e6, 1e5, 0, 0, 60.0, 0.2)]
    rec.report(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in text
    for raw in ("<script", "\u202e", "\x1b", "h<b>", "src=", "href=", "url(", "@import"):
        assert raw not in text
    assert "default-src 'none'" in text
    assert text.count("<svg") == text.count("</svg>") == 6


def test_items_are_counted_in_whole_numbers() -> None:
    from cloudfiles_hypha.recording.report import page

    text = page(recording_of(row(bytes=0, first_byte=1.0)))
    assert ">0.5</text>" not in text
    assert ">1</text>" in text


def test_a_page_is_bounded_however_many_items_there_are() -> None:
    rows = [row(path="p" * 5000, start=number / 1000, end=number / 1000 + 0.01) for number in range(5000)]
    html = recording_of(*rows)._repr_html_()
    assert len(html) < 50_000
    from cloudfiles_hypha.recording.report import page

    assert len(page(recording_of(*rows))) < 250_000


@pytest.mark.parametrize("chart", ["timeline", "throughput", "concurrency", "latency"])
def test_charts_are_drawn_by_matplotlib(cf: ArtifactFiles, chart: str) -> None:
    pytest.importorskip("matplotlib")
    with cf.recording() as rec:
        cf.get(["0", "1", "missing"], raise_errors=False)
    ax = getattr(rec, f"plot_{chart}")()
    assert ax.get_title()
    assert ax.lines or ax.collections or ax.patches


def test_all_charts_are_one_picture(cf: ArtifactFiles, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with cf.recording() as rec:
        cf.get(["0", "1"])
    rec.plot(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes()[:4] == b"\x89PNG"


def test_without_matplotlib_a_chart_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(ImportError, match=r"cloudfiles_hypha\[plot\]"):
        Recording().plot_timeline()


# --- The machine -----------------------------------------------------------------------------------------------------


def test_the_rates_of_the_machine_are_beside_it_and_the_thread_ends_with_it(cf: ArtifactFiles) -> None:
    pytest.importorskip("psutil")
    before = threading.active_count()
    with cf.recording(machine=True) as rec:
        assert "cloudfiles-hypha-machine" in {thread.name for thread in threading.enumerate()}
    assert threading.active_count() == before
    assert rec.machine
    assert rec.machine[-1].at > 0
    assert Recording.from_json(rec.to_json()).machine == rec.machine


def test_without_psutil_the_machine_cannot_be_recorded(cf: ArtifactFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ImportError, match="pip install psutil"), cf.recording(machine=True):
        pass


# --- The command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "one.bin").write_bytes(b"1" * 10)
    return folder


@pytest.mark.parametrize("command", ["cp -r", "mv -r", "sync"])
def test_a_command_writes_a_report(command: str, tree: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    source = str(tree) if command != "mv -r" else f"file://{tree}"
    assert main([*command.split(), source, f"file://{tmp_path}/to", "--report", str(page)]) == 0
    assert "one.bin" in page.read_text()


def test_a_command_writes_charts(tree: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    chart = tmp_path / "chart.png"
    assert main(["cp", "-r", str(tree), f"file://{tmp_path}/to", "--chart", str(chart)]) == 0
    assert chart.read_bytes()[:4] == b"\x89PNG"


def test_a_report_that_cannot_be_written_is_said_before_anything_is_copied(
    tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cp", "-r", str(tree), f"file://{tmp_path}/to", "--report", f"{tmp_path}/no/r.html"]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("option", ["--report", "--chart"])
def test_a_report_replaces_only_an_earlier_one(
    option: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever forgets its name has named a file to be copied."""
    if option == "--chart":
        pytest.importorskip("matplotlib")
    copy = ["cp", "-r", str(tree), f"file://{tmp_path}/to", option]
    assert main([*copy, str(tree / "one.bin")]) == 2
    assert "name another file" in capsys.readouterr().err
    assert (tree / "one.bin").read_bytes() == b"1" * 10
    assert not (tmp_path / "to").exists()

    page = tmp_path / "page.png"
    page.touch()
    for _ in range(2):
        assert main([*copy, str(page)]) == 0
        assert page.stat().st_size


@pytest.mark.parametrize("name", ["one", "one.doc"])
def test_a_chart_that_cannot_be_written_is_said_before_anything_is_copied(
    name: str, tree: Path, tmp_path: Path
) -> None:
    """Of ``one`` matplotlib would make ``one.png``, whatever that is."""
    pytest.importorskip("matplotlib")
    (tmp_path / "one.png").write_bytes(b"mine")
    assert main(["cp", "-r", str(tree), f"file://{tmp_path}/to", "--chart", str(tmp_path / name)]) == 2
    assert (tmp_path / "one.png").read_bytes() == b"mine"
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("name", ["-", ""])
def test_a_report_has_to_have_a_name(name: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cp", "-r", str(tree), f"file://{tmp_path}/to", "--report", name]) == 2
    assert not (tmp_path / "to").exists()


def test_a_report_is_written_of_what_failed_too(tmp_path: Path, object_server: ObjectServer) -> None:
    page = tmp_path / "report.html"
    assert main(["cp", f"{object_server.url}/missing", str(tmp_path / "x"), "--report", str(page)]) == 1
    assert "ObjectNotFound" in page.read_text()
