"""What long work says."""

from relbench_pretrain import progress
from relbench_pretrain.progress import StatusLine, duration


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
