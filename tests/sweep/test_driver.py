"""The driver over lanes that do what a test says: claims, ends, splits, retries and leases that expire."""

import json
import sqlite3
import time
from pathlib import Path

import pytest
from filelock import FileLock

import hltm
from hltm.base.errors import InputError
from hltm.base.workers import Ended, Engine
from numeric.studies.sweep.driver import Driver, Options, tidy, work_folder
from numeric.studies.sweep.expansion import expand
from numeric.studies.sweep.grid import make_grid
from numeric.studies.sweep.leases import Leases, Member
from numeric.studies.sweep.store import Store
from numeric.studies.sweep.task import Answer

TABLES = {"tree": {"depth": 1, "polarity": [0.5, 0.6]}, "network": {"width": [2, 3]}, "seeds": 5}
FOUND = {"steps": [1], "loss": [0.5], "dead": False, "diverged": None, "before": None, "after": None}


def answer_of(number, code="test"):
    return Answer((json.dumps(FOUND),) * number, 1.0, "cpu", code)


class Lanes(Engine):
    """Two lanes that answer at once."""

    lanes = 2

    def __init__(self, answer):
        self.answer, self.held, self.seen, self.ended = answer, {}, [], []

    def idle(self):
        return [lane for lane in range(self.lanes) if lane not in self.held]

    def start(self, lane, work):
        self.held[lane] = work
        self.seen.append([member["key"] for member in work["members"]])

    def wait(self, seconds):
        found = []
        for lane, work in list(self.held.items()):
            answer = self.answer(work)
            if answer == "hang":
                continue
            del self.held[lane]
            found.append(Ended(lane, answer, "" if answer else "its worker process died"))
        time.sleep(0.001)
        return found

    def end(self, lane):
        self.ended.append(lane)
        del self.held[lane]

    def close(self):
        pass


def done(work):
    return {"results": [FOUND] * len(work["members"]), "seconds": 1.0, "device": "cpu", "code": "test"}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "sweep.db") as found:
        assert found.add(expand(make_grid(TABLES))) == 20
        yield found


def reasons(store):
    return [reason for (reason,) in store.read("SELECT reason FROM configurations WHERE status = 'failed'")]


def test_everything_is_done_once_in_stacks(store):
    lanes = Lanes(done)
    assert Driver(store, lanes, Options(stack=4)).run() == {"pending": 0, "running": 0, "done": 20, "failed": 0}
    keys = [key for task in lanes.seen for key in task]
    assert len(keys) == len(set(keys)) == 20
    assert max(map(len, lanes.seen)) == 4
    assert not work_folder(store).exists()
    # Once more: there is nothing to do.
    again = Lanes(done)
    Driver(store, again, Options()).run()
    assert again.seen == []


def test_only_the_member_that_is_to_blame_fails(store):
    (bad,) = [key.hex() for (key,) in store.read("SELECT key FROM configurations ORDER BY id LIMIT 1 OFFSET 7")]

    def answer(work):
        guilty = any(member["key"] == bad for member in work["members"])
        return {"error": "raised", "reason": "ValueError: no"} if guilty else done(work)

    counts = Driver(store, Lanes(answer), Options(stack=8)).run()
    assert counts == {"pending": 0, "running": 0, "done": 19, "failed": 1}
    assert reasons(store) == ["raised: ValueError: no"]
    # A result stands for its own: the failed one has none, and is tried again only when asked for.
    assert next(store.read("SELECT count(*) FROM results")) == (19,)
    assert Driver(store, Lanes(done), Options()).run()["failed"] == 1
    assert store.retry_failed() == 1
    assert Driver(store, Lanes(done), Options()).run()["done"] == 20


def test_a_task_whose_worker_dies_is_tried_again_and_then_split(store):
    (bad,) = [key.hex() for (key,) in store.read("SELECT key FROM configurations ORDER BY id LIMIT 1")]
    tries = []

    def answer(work):
        if any(member["key"] == bad for member in work["members"]):
            tries.append(len(work["members"]))
            return None
        return done(work)

    counts = Driver(store, Lanes(answer), Options(stack=4, retries=2)).run()
    assert (counts["done"], counts["failed"]) == (19, 1)
    assert tries == [4, 4, 4, 2, 2, 2, 1, 1, 1]
    assert reasons(store) == ["lost: its worker process died, 3 times"]


def test_a_task_that_hangs_is_ended(store):
    (bad,) = [key.hex() for (key,) in store.read("SELECT key FROM configurations ORDER BY id LIMIT 1")]
    lanes = Lanes(lambda work: "hang" if any(member["key"] == bad for member in work["members"]) else done(work))
    counts = Driver(store, lanes, Options(stack=2, time_limit=1.0)).run()
    assert (counts["done"], counts["failed"]) == (19, 1)
    assert len(lanes.ended) == 2
    assert reasons(store) == ["time: more than the 1 seconds of a task"]


def test_a_driver_that_dies_frees_its_tasks_for_the_same_members(store, tmp_path):
    """The system lets go of its lock; the members come together again, so that their checkpoint fits."""
    first = Leases(store, tmp_path / "work").__enter__()
    task = first.claim(lambda *_: 3, 1)
    with Leases(store, tmp_path / "work") as second:
        assert second.beat() == []  # alive
        other = second.claim(lambda *_: 3, 1)
        assert not {each.row for each in task.members} & {each.row for each in other.members}
        first._lock.release()
        assert len(second.beat()) == 1
        again = second.claim(lambda *_: 3, 1)
        assert [each.row for each in again.members] == [each.row for each in task.members]
        assert again.name == task.name
        # Whoever comes late writes nothing.
        assert not first.finish(task, answer_of(3, "late"))
        assert not first.fail(task, "late")
        assert second.finish(again, answer_of(3))
        assert not second.finish(again, answer_of(3, "twice"))
    assert store.counts()["done"] == 3


def test_a_driver_that_is_stopped_loses_its_tasks_after_a_while(store, tmp_path):
    with Leases(store, tmp_path / "work", expiry=0.2) as first, Leases(store, tmp_path / "work", expiry=0.2) as second:
        task = first.claim(lambda *_: 3, 1)
        assert second.beat() == []
        time.sleep(0.3)
        assert second.beat() == [first.name]
        again = second.claim(lambda *_: 3, 1)
        assert again.number == task.number
        assert not first.finish(task, answer_of(3, "late"))
        first.beat()  # it is back, and can take others
        assert first.claim(lambda *_: 3, 1).number != task.number


def test_a_clock_that_is_set_takes_no_task_from_a_driver_that_lives(store, tmp_path, monkeypatch):
    with Leases(store, tmp_path / "work") as first, Leases(store, tmp_path / "work") as second:
        task = first.claim(lambda *_: 3, 1)
        for hours in (0, 5, -5):
            moment = time.time() + 3600 * hours
            with monkeypatch.context() as clock:
                clock.setattr(time, "time", lambda moment=moment: moment)
                assert second.beat() == []
        assert first.finish(task, answer_of(3))


def test_what_an_unknown_driver_holds_is_free(store, tmp_path):
    """It was taken for dead, came back, claimed a task, and died before its next heartbeat."""
    with Leases(store, tmp_path / "work", expiry=0.2) as second:
        first = Leases(store, tmp_path / "work").__enter__()
        assert second.beat() == []
        time.sleep(0.3)
        assert second.beat() == [first.name]
        first.claim(lambda *_: 3, 1)
        first._lock.release()
        elsewhere = "SELECT count(*) FROM configurations WHERE owner IS NOT NULL AND owner <> ?"
        assert next(store.read(elsewhere, (second.number,))) == (3,)
        assert second.beat() == []
        assert store.counts()["running"] == 0
        assert next(store.read(elsewhere, (second.number,))) == (0,)


def test_a_driver_of_a_store_that_was_removed_is_one_line(store, tmp_path):
    with Leases(store, tmp_path / "work"), Store(tmp_path / "new.db") as new:
        with pytest.raises(InputError, match="was removed, still runs; it must end first"):
            Leases(new, tmp_path / "work").__enter__()
        assert next(new.read("SELECT count(*) FROM drivers")) == (0,)


DAMAGES = (
    ("UPDATE parts SET json = replace(json, '0.5', '0.7') WHERE kind = 'tree'", "its key is of something else"),
    ("UPDATE parts SET json = substr(json, 2)", "its key is of something else"),
    ("UPDATE configurations SET seed = 9", "its key is of something else"),
    ("UPDATE configurations SET network = 99", "its key is of something else"),
    ("UPDATE parts SET json = cast(x'7bff7d' AS TEXT) WHERE kind = 'train'", "must be the store of a sweep"),
)


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_no_result_is_written_under_the_key_of_something_else(store, damage, words):
    """The file is damaged where SQLite does not see it, or an older version of the code made the keys."""
    with store.writing() as db:
        db.execute(damage)
    lanes = Lanes(done)
    with pytest.raises(InputError, match=words):
        Driver(store, lanes, Options()).run()
    assert lanes.seen == []
    assert store.counts()["pending"] == 20


def test_a_tree_from_a_file_is_what_its_digest_says(tmp_path):
    hltm.save(hltm.star_tree(2, 0.5), tmp_path / "tree.json")
    with Store(tmp_path / "sweep.db") as store:
        store.add(expand(make_grid({"tree": {"kind": "file", "file": str(tmp_path / "tree.json")}})))
        assert Driver(store, Lanes(done), Options()).run()["done"] == 1
        for change in ("UPDATE files SET json = replace(json, '0.5', '0.6')", "DELETE FROM files"):
            with store.writing() as db:
                db.execute(change)
                db.execute("UPDATE configurations SET status = 'pending', task = NULL")
            with pytest.raises(InputError, match="its key is of something else"):
                Driver(store, Lanes(done), Options()).run()


def test_the_end_of_a_task_is_written_whole_or_not_at_all(store, tmp_path):
    with Leases(store, tmp_path / "work") as leases:
        task = leases.claim(lambda *_: 3, 1)
        with pytest.raises(ValueError, match="shorter"):
            leases.finish(task, answer_of(2))
        assert store.counts()["done"] == 0
        assert next(store.read("SELECT count(*) FROM results")) == (0,)
        assert leases.finish(task, answer_of(3))


class Odd:
    """What JSON does not know."""


DEEP: list = []
for _ in range(10**5):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "bad",
    [
        {"results": [{"loss": [float("nan")]}]}, {"results": [{"loss": Odd()}]}, {"results": []}, {"results": None},
        {"results": [DEEP]}, {"results": [{Odd(): 1}]}, {"seconds": float("inf")}, {"seconds": "long"},
        {"seconds": Odd()}, {"error": "raised"}, {"error": "raised", "reason": "a lone surrogate \udc80"}, [], 3, "done",
    ],
)  # fmt: skip
def test_whatever_a_worker_answers_only_its_own_configuration_fails(store, bad):
    """Its stack mates are done, and the driver goes on."""
    (guilty,) = [key.hex() for (key,) in store.read("SELECT key FROM configurations ORDER BY id LIMIT 1 OFFSET 7")]

    def answer(work):
        if not any(member["key"] == guilty for member in work["members"]):
            return done(work)
        return {**done(work), **bad} if isinstance(bad, dict) else bad or [0]

    counts = Driver(store, Lanes(answer), Options(stack=8)).run()
    assert counts == {"pending": 0, "running": 0, "done": 19, "failed": 1}
    (reason,) = reasons(store)
    assert reason.startswith("raised: ")
    assert "\n" not in reason


def test_the_size_of_a_stack_knows_the_device_and_the_time_limit(store):
    """The configuration of the paper's study, in the stacks that `docs/scaling.md` reckons with on a GPU."""
    study = {"tree": {"depth": 5, "polarity": 0.9}, "network": {"width": 10}, "train": {"steps": 1500}}
    found = expand(make_grid(study))
    parts = [json.loads(each[0].text) for each in (found.trees, found.networks, found.trains)]
    member = Member(0, b"", 0, *parts)

    def most(**options):
        return Driver(store, Lanes(done), Options(stack=1024, **options))._most(member, {})

    assert 64 < most() < 1024
    assert most(device="cuda") == 1024
    assert most(task_seconds=1e5) == 1024
    assert most(time_limit=60.0) < most() / 4
    assert most(task_seconds=0.0) == 1


def test_what_is_not_predicted_is_computed_alone_and_with_checkpoints(tmp_path):
    with Store(tmp_path / "sweep.db") as store:
        store.add(expand(make_grid({**TABLES, "train": {"mode": "exact", "steps": 1}})))
        lanes = Lanes(done)
        seen = []
        lanes.start = lambda lane, work: (seen.append(work), Lanes.start(lanes, lane, work))
        Driver(store, lanes, Options(checkpoints=tmp_path / "held")).run()
    assert len(seen) == 20
    assert all(len(work["members"]) == 1 and work["checkpoint"] for work in seen)


def test_checkpoints_outlive_neither_their_task_nor_a_driver_that_died_before_it_removed_them(
    store, tmp_path, monkeypatch
):
    kept = work_folder(store) / "0123"

    def answer(work):
        kept.mkdir(parents=True, exist_ok=True)
        (kept / "some.pt").touch()
        return done(work)

    Driver(store, Lanes(answer), Options(stack=8)).run()
    assert not work_folder(store).exists()
    # While something is not finished, nobody knows whose it is.
    kept.mkdir(parents=True)
    store.add(expand(make_grid({**TABLES, "seeds": 7})))
    tidy(store)
    assert kept.exists()


def test_the_checkpoint_of_a_task_that_another_driver_took_over_is_left_to_it(store, tmp_path):
    folder, seen = tmp_path / "held", []

    def answer(work):
        if seen:
            raise KeyboardInterrupt
        Path(work["checkpoint"]).mkdir(parents=True)
        seen.append(work["checkpoint"])
        with store.writing() as db:  # as if it had been taken for dead
            db.execute("UPDATE configurations SET owner = 99")
            db.execute("INSERT INTO drivers VALUES (99, 'another', 1e12)")
        return done(work)

    lanes, notes = Lanes(answer), []
    lanes.lanes = 1

    with FileLock(work_folder(store) / "driver-99.lock"), pytest.raises(KeyboardInterrupt):
        Driver(store, lanes, Options(stack=20, checkpoints=folder, checkpoint_after=0.0), note=notes.append).run()
    assert notes == ["the end of a task that another driver took over is not written"]
    assert Path(*seen).is_dir()


def test_a_store_under_two_names_has_one_folder(store, tmp_path):
    (tmp_path / "other.db").symlink_to(store.path)
    with Store(tmp_path / "other.db") as other:
        assert work_folder(other) == work_folder(store)


def test_a_full_database_is_one_line_and_loses_nothing(store):
    (pages,) = next(store.read("PRAGMA page_count"))
    big = {**FOUND, "loss": [0.123456789] * 5000}
    lanes = Lanes(lambda work: {**done(work), "results": [big] * len(work["members"])})
    store._db.execute(f"PRAGMA max_page_count = {pages + 30}")
    with pytest.raises(InputError, match=r"full: must be .* on a disk that has room"):
        Driver(store, lanes, Options(stack=1)).run()
    kept = store.counts()["done"]
    assert 0 < kept < 20
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert Driver(store, Lanes(done), Options()).run()["done"] == 20
    assert sum(len(json.loads(text)["loss"]) == 5000 for (text,) in store.read("SELECT metrics FROM results")) == kept


def test_a_locked_database_is_one_line_after_its_patience(tmp_path):
    with Store(tmp_path / "sweep.db", patience=0.1) as store:
        store.add(expand(make_grid(TABLES)))
        other = sqlite3.connect(tmp_path / "sweep.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="another process holds it; nothing is lost"):
            store.retry_failed()
        other.execute("ROLLBACK")
        other.close()
        assert store.retry_failed() == 0


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "text").write_text("no database at all, only some text that is long enough")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    for name in ("text", "other.db"):
        before = (tmp_path / name).read_bytes()
        with pytest.raises(InputError, match="must be the store of a sweep"):
            Store(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
    with pytest.raises(InputError, match="must be a file that is there"):
        Store(tmp_path / "nothing.db", create=False)


def test_a_store_is_a_file_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store(":memory:") as store:
        store.add(expand(make_grid(TABLES)))
    with Store(tmp_path / ":memory:", create=False) as again:
        assert again.counts()["pending"] == 20


def test_a_second_grid_adds_only_what_is_new(store):
    assert store.add(expand(make_grid(TABLES))) == 0
    assert store.add(expand(make_grid({**TABLES, "seeds": 7}))) == 8
    assert store.counts()["pending"] == 28


def test_results_can_be_read_with_nothing_but_sqlite(store):
    Driver(store, Lanes(done), Options()).run()
    with sqlite3.connect(store.path) as db:
        rows = db.execute("SELECT key, tree, network, train, seed, metrics, code FROM sweep").fetchall()
    db.close()
    assert len(rows) == 20
    assert all(len(row[0]) == 64 and json.loads(row[5]) == FOUND and row[6] == "test" for row in rows)


def test_two_drivers_that_add_the_same_grid_at_once(tmp_path, monkeypatch):
    """The second looks for the grid before the first has added it, and adds it after."""
    first, second = Store(tmp_path / "sweep.db"), Store(tmp_path / "sweep.db")
    with first, second:
        monkeypatch.setattr(second, "read", lambda *_: iter(()))
        assert first.add(expand(make_grid(TABLES))) == 20
        assert second.add(expand(make_grid(TABLES))) == 0
        (held,) = next(first.read("SELECT count(*) FROM configurations"))
        assert held == 20


@pytest.mark.parametrize("moment", range(6))
def test_a_store_that_another_driver_makes_while_it_is_opened(tmp_path, monkeypatch, moment):
    """Between any two of the questions that a new store is asked."""
    place, real, asked = tmp_path / "sweep.db", sqlite3.connect, []

    class Watched(sqlite3.Connection):
        def execute(self, *arguments):
            asked.append(arguments)
            if len(asked) == moment + 1:
                monkeypatch.setattr(sqlite3, "connect", real)
                Store(place).close()
            return super().execute(*arguments)

    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: real(*a, factory=Watched, **k))
    with Store(place) as store:
        assert store.counts()["pending"] == 0


def test_readers_write_nothing(tmp_path):
    (tmp_path / "empty.db").touch()
    with pytest.raises(InputError, match="must be the store of a sweep"):
        Store(tmp_path / "empty.db", create=False)
    assert (tmp_path / "empty.db").stat().st_size == 0


def test_a_store_on_a_file_system_that_cannot_be_written(tmp_path, monkeypatch):
    """SQLite cannot make the files of its log there; for root, who may write everywhere, it is told so."""
    with Store(tmp_path / "sweep.db") as store:
        store.add(expand(make_grid(TABLES)))
    real = sqlite3.connect

    class ReadOnly(sqlite3.Connection):
        def execute(self, statement, *values):
            if "sqlite_master" in statement:
                raise sqlite3.OperationalError("unable to open database file")
            return super().execute(statement, *values)

    def connect(path, **options):
        return real(path, **options) if "immutable=1" in str(path) else real(path, factory=ReadOnly, **options)

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(InputError, match="on a disk that has room"):
        Store(tmp_path / "sweep.db")
    with Store(tmp_path / "sweep.db", create=False) as store:
        assert store.counts()["pending"] == 20
    # What is in a log only would be missing: then it is refused.
    (tmp_path / "sweep.db-wal").write_bytes(b"something")
    with pytest.raises(InputError, match="on a disk that has room"):
        Store(tmp_path / "sweep.db", create=False)
