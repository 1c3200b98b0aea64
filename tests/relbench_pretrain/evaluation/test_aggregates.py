"""Aggregates along foreign keys, against loops over rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from relbench.base import Database, Table

from relbench_pretrain.evaluation.aggregates import Aggregates
from relbench_pretrain.relational.graph import fit_schema
from relbench_pretrain.unix_time import to_unix_seconds

DAY = 86_400


@pytest.fixture(scope="module")
def shop():
    rng = np.random.default_rng(0)
    n = 400
    teams = pd.DataFrame({"team_id": np.arange(5), "budget": rng.normal(size=5)})
    born = pd.Timestamp("1990-01-01") + pd.to_timedelta(rng.integers(0, 3000, 20), "D")
    people = pd.DataFrame({"person_id": np.arange(20), "height": rng.normal(size=20), "born": born})
    games = pd.DataFrame(
        {
            "person_id": pd.array(rng.integers(0, 20, n), dtype="Int64"),
            "team_id": pd.array(rng.integers(0, 5, n), dtype="Int64"),
            "points": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "result": rng.choice(["won", "lost", "drawn"], n, p=[0.5, 0.3, 0.2]),
            "played": pd.Timestamp("2010-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 1000, n)), "D"),
        }
    )
    games.loc[::17, "person_id"] = pd.NA
    db = Database(
        {
            "teams": Table(teams, {}, "team_id"),
            "people": Table(people, {}, "person_id"),
            "games": Table(games, {"person_id": "people", "team_id": "teams"}, None, "played"),
        }
    )
    until = int(pd.Timestamp("2012-01-01").timestamp())
    return db, Aggregates(db, fit_schema(db, until, {"games": {"result": "categorical"}}), until)


def asked(number=30):
    rng = np.random.default_rng(1)
    rows = torch.from_numpy(rng.integers(0, 20, number))
    times = torch.from_numpy(pd.Timestamp("2010-06-01").timestamp() + DAY * rng.integers(0, 1200, number)).long()
    return rows, times


def histories(games, rows, times):
    """Yields what each person has played by a time, and the time."""
    seconds = to_unix_seconds(games["played"])
    for row, time in zip(rows.tolist(), times.tolist(), strict=True):
        yield games[(games["person_id"] == row).fillna(False) & (seconds <= time)], time


def test_history_is_that_of_a_loop(shop):
    db, make = shop
    rows, times = asked()
    found, games = make("people", rows, times, times), db.table_dict["games"].df
    codes = games["result"].map({"won": 0, "lost": 1, "drawn": 2})
    for i, (mine, time) in enumerate(histories(games, rows, times)):
        assert found["games.person_id:count_"][i] == len(mine)
        last = mine.iloc[::-1]
        for k in (1, 5, 60):
            mean = last["points"].iloc[:k].mean()
            assert found[f"games.person_id:mean_points_{k}"][i] == pytest.approx(mean, nan_ok=True)
        share = (codes[last.index[:5]] == 1).mean()
        assert found["games.person_id:share_result_1_5"][i] == pytest.approx(share, nan_ok=True)
        age = time - to_unix_seconds(last["played"])[0] if len(last) else np.nan
        assert found["games.person_id:age_"][i] == pytest.approx(age, nan_ok=True)


def test_the_latest_rows_parent_brings_its_own_history(shop):
    db, make = shop
    rows, times = asked()
    found, games = make("people", rows, times, times), db.table_dict["games"].df
    for i, (mine, time) in enumerate(histories(games, rows, times)):
        if not len(mine):
            continue
        team = int(mine["team_id"].iloc[-1])
        budget = db.table_dict["teams"].df["budget"][team]
        assert found["games.team_id>teams.budget"][i] == pytest.approx(budget)
        together = games[(games["team_id"] == team) & (to_unix_seconds(games["played"]) <= time)]
        assert found["games.team_id>games.team_id:count_"][i] == len(together)


def test_ages_of_points_in_time_are_features_and_not_the_points(shop):
    db, make = shop
    rows, times = asked()
    born = to_unix_seconds(db.table_dict["people"].df["born"])
    assert make.of_row("people", rows, times)["people.born"].tolist() == (times.numpy() - born[rows]).tolist()


def test_no_later_row_has_an_influence(shop):
    db, _ = shop
    rows, times = asked()
    cut = int(pd.Timestamp("2011-06-01").timestamp())
    times = times.clamp(max=cut)
    games = db.table_dict["games"].df.copy()
    later = to_unix_seconds(games["played"]) > cut
    assert later.any() and not later.all()
    games.loc[later, "points"] = 1e6
    tables = db.table_dict | {"games": Table(games, db.table_dict["games"].fkey_col_to_pkey_table, None, "played")}
    until = cut
    schema = fit_schema(db, until, {"games": {"result": "categorical"}})
    first, second = (Aggregates(d, schema, until)("people", rows, times, times) for d in (db, Database(tables)))
    pd.testing.assert_frame_equal(first, second)


def test_what_is_visible_can_end_before_the_time_that_ages_count_from(shop):
    _, make = shop
    rows, times = asked()
    early = times - 100 * DAY
    seen, then = make("people", rows, times, early), make("people", rows, early, early)
    name = "games.person_id:mean_points_3"
    pd.testing.assert_series_equal(seen[name], then[name])
    difference = (seen["games.person_id:age_"] - then["games.person_id:age_"]).dropna()
    assert (difference == 100 * DAY).all()


def test_rows_that_refer_to_others_bring_their_history(shop):
    db, make = shop
    games = db.table_dict["games"].df
    seconds = to_unix_seconds(games["played"])
    rows = torch.tensor([50, 120, 300])
    times = torch.from_numpy(seconds[rows.numpy()].astype(np.int64))
    found = make("games", rows, times, times - 1)
    for i, row in enumerate(rows.tolist()):
        team = games["team_id"][row]
        before = games[(games["team_id"] == team).fillna(False) & (seconds < seconds[row])]
        assert found["team_id>games.team_id:count_"][i] == len(before)
        assert found["team_id>games.team_id:mean_points_60"][i] == pytest.approx(before["points"].iloc[-60:].mean())


def test_what_lies_ahead_is_no_feature_of_what_refers_to_it():
    day = pd.Timestamp("2020-01-01")
    events = pd.DataFrame({"event": [0, 1], "score": [1.0, 99.0], "at": [day, day + pd.Timedelta("9D")]})
    tickets = pd.DataFrame({"person": [0, 0], "event": [0, 1], "bought": [day, day + pd.Timedelta("1D")]})
    people = pd.DataFrame({"person": [0], "height": [1.0]})
    db = Database(
        {
            "people": Table(people, {}, "person"),
            "events": Table(events, {}, "event", "at"),
            "tickets": Table(tickets, {"person": "people", "event": "events"}, None, "bought"),
        }
    )
    make = Aggregates(db, fit_schema(db, stypes={"events": {"score": "numerical"}}), 2**40)
    times = torch.tensor([int(t.timestamp()) for t in (day, day + pd.Timedelta("2D"), day + pd.Timedelta("9D"))])
    found = make("people", torch.zeros(3, dtype=torch.int64), times, times)["tickets.event>events.score"]
    assert found.isna().tolist() == [False, True, False] and found.tolist()[::2] == [1.0, 99.0]
