"""What long work says."""

import time
from itertools import groupby

from relbench_pretrain import progress
from relbench_pretrain.progress import StatusLine, Work, duration, progress_shown, tracked, work


def test_a_line_now_and_then_in_a_file_and_one_that_changes_on_a_terminal(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    status = StatusLine()
    status.show("too early")
    now[0] = 60
    status.show("1 of 3")
    status.show("too early again")
    status.say("[2/3] done")
    assert capsys.readouterr().out == "1 of 3\n[2/3] done\n"
    status.terminal, status.every = True, 1.0
    now[0] = 61
    status.show("3" * 500)
    status.say("all")
    assert capsys.readouterr().out == f"\r\033[K{'3' * 79}\r\033[Kall\n"
    assert [duration(seconds) for seconds in (0.4, 99, 600)] == ["0 s", "99 s", "10 min"]


def test_work_is_shown_to_those_who_ask_only(capsys, monkeypatch):
    monkeypatch.setattr(StatusLine, "show", lambda self, text: self.say(text))
    assert list(tracked(["a", "b"], "silent")) == ["a", "b"]
    with progress_shown():
        progress._line.every = 0.01
        with work("opening"):
            time.sleep(0.1)
            for _ in tracked(iter("ab"), "embedding texts", 2):
                time.sleep(0.1)
    shown = capsys.readouterr().out.splitlines()
    assert [text for text, _ in groupby(shown)] == [
        "opening (0 s)",
        "embedding texts: 0 of 2 (0 s)",
        "embedding texts: 1 of 2 (0 s, about 0 s left)",
    ]
    assert (
        Work("embedding texts", 1000, 250).told(bar=True).startswith("embedding texts: [#####               ] 250 of")
    )
    with work("silent"):
        pass
    assert progress._going_on == []


def test_other_processes_are_silent(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with progress_shown():
        assert progress._line is None
