"""The demo database: its shape, its reproducibility, and what can be learnt from it."""

import filecmp
import warnings

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import relbench
from relbench.base import TaskType
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, mean_absolute_error, roc_auc_score
from threadpoolctl import threadpool_limits

from relbench_pretrain.datasets.shop.database import write_demo_database
from relbench_pretrain.relational.database import check_database, load_database

SPLITS = ("train", "val", "test")
FORECASTS = ("customer-churn", "customer-department", "product-sales", "customer-products")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_demo_database(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def dataset(folder):
    return relbench.load_dataset(folder)


@pytest.fixture(scope="module")
def frames(folder) -> dict[str, pd.DataFrame]:
    return {name: table.df for name, table in load_database(folder).table_dict.items()}


def labels(dataset, task: str, split: str) -> pd.DataFrame:
    return dataset.load_task(task).get_table(split, mask_input_cols=False).df


class TestWriting:
    def test_same_seed_same_bytes(self, tmp_path):
        first, again, other = (
            write_demo_database(tmp_path / name, 1_500, seed) for name, seed in [("a", 3), ("b", 3), ("c", 4)]
        )
        files = sorted(str(path.relative_to(first)) for path in first.rglob("*.*"))
        assert len(files) == 1 + 10 + 4 * 4 + 1
        assert filecmp.cmpfiles(first, again, files, shallow=False) == (files, [], [])
        for name in ("customers", "visits", "reviews"):
            assert not pq.read_table(first / f"db/{name}.parquet").equals(pq.read_table(other / f"db/{name}.parquet"))

    @pytest.mark.parametrize("num_rows", [1_000, 5_000, 50_000])
    def test_number_of_rows(self, num_rows, tmp_path):
        db = load_database(write_demo_database(tmp_path, num_rows, seed=1))
        assert sum(map(len, db.table_dict.values())) == pytest.approx(num_rows, rel=0.15 if num_rows < 5_000 else 0.05)
        assert len(db.table_dict["visits"]) == max(map(len, db.table_dict.values()))

    def test_smallest_has_all_labels(self, tmp_path):
        dataset = relbench.load_dataset(write_demo_database(tmp_path, 1_000))
        for task in dataset.get_task_names():
            assert all(len(labels(dataset, task, split)) for split in SPLITS)

    def test_refusals(self, tmp_path):
        with pytest.raises(ValueError, match="num_rows is 999, but the tasks need at least 1000"):
            write_demo_database(tmp_path, 999)
        with pytest.raises(ValueError, match="seed is -1"):
            write_demo_database(tmp_path, 1_000, -1)
        (tmp_path / "mine.txt").touch()
        with pytest.raises(FileExistsError, match="not empty"):
            write_demo_database(tmp_path, 1_000)


class TestTables:
    def test_nothing_to_complain_about(self, dataset):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_database(dataset.make_db())

    def test_every_kind_of_table(self, dataset, frames):
        tables = dataset.manifest.tables
        parents = {name: list(spec.fkeys.values()) for name, spec in tables.items()}
        assert parents["shipments"].count("warehouses") == 2
        assert {name for name in tables if name in parents[name]} == {"categories", "customers", "reviews"}
        assert {name for name, spec in tables.items() if spec.pkey is None} == {"order_items", "visits", "stock"}
        assert {name for name, spec in tables.items() if spec.time_col is None} == {"warehouses", "categories", "stock"}
        assert set(frames["stock"]) == set(tables["stock"].fkeys)  # no feature

    def test_every_kind_of_column_has_gaps(self, frames):
        units = {frame[c].dtype for frame in frames.values() for c in frame.select_dtypes("datetime")}
        assert units == {np.dtype(f"datetime64[{unit}]") for unit in ("ms", "us", "ns")}
        gaps = [
            *(("products", "weight_kg"), ("products", "brand"), ("products", "tags"), ("customers", "birth_date")),
            *(("orders", "promised_at"), ("orders", "gift_note"), ("reviews", "text"), ("reviews", "rating")),
            *(("visits", "customer_id"), ("categories", "parent_id"), ("products", "category_id")),
        ]
        for table, column in gaps:
            assert 0 < frames[table][column].isna().mean() < 1, (table, column)
        tags = frames["products"]["tags"].dropna()
        assert tags.map(len).min() == 0 and all(len(set(row)) == len(row) for row in tags)

    def test_sizes_and_degrees_are_skewed(self, frames):
        assert len(frames["visits"]) > 500 * len(frames["warehouses"])
        for table, column in [("order_items", "product_id"), ("visits", "customer_id")]:
            degree = frames[table][column].value_counts()
            assert degree.max() > 5 * degree.median()

    def test_times_span_three_years(self, dataset, frames):
        times = {name: frames[name][spec.time_col] for name, spec in dataset.manifest.tables.items() if spec.time_col}
        assert all(time.min() >= pd.Timestamp("2021-01-04") for time in times.values())
        assert all(time.max() < pd.Timestamp("2024-01-01") for time in times.values())
        assert times["visits"].max() > dataset.test_timestamp + pd.Timedelta(days=84)

    def test_rows_refer_to_what_exists_by_then(self, frames):
        customers, products, orders = frames["customers"], frames["products"], frames["orders"]
        signed_up = customers["signed_up_at"].to_numpy()
        launched = products["launched_at"].to_numpy()
        for table, time in [("orders", "ordered_at"), ("visits", "visited_at"), ("reviews", "reviewed_at")]:
            known = frames[table].dropna(subset="customer_id")
            assert (signed_up[known["customer_id"].astype(int)] <= known[time]).all()
        for table, time in [("order_items", "ordered_at"), ("visits", "visited_at"), ("reviews", "reviewed_at")]:
            assert (launched[frames[table]["product_id"].astype(int)] <= frames[table][time]).all()
        items, shipments, reviews = frames["order_items"], frames["shipments"], frames["reviews"]
        assert (orders["ordered_at"].to_numpy()[items["order_id"].astype(int)] == items["ordered_at"]).all()
        assert (orders["ordered_at"].to_numpy()[shipments["order_id"].astype(int)] < shipments["delivered_at"]).all()
        assert (customers["referred_by"] < customers["customer_id"]).all()  # null compares as true
        replies = reviews.dropna(subset="reply_to")
        assert len(replies) > 100 and (replies["reply_to"] < replies["review_id"]).all()
        answered = reviews["product_id"].to_numpy()[replies["reply_to"].astype(int)]
        assert (answered == replies["product_id"]).all()


class TestTasks:
    def test_types(self, dataset):
        types = {name: dataset.load_task(name).task_type for name in dataset.get_task_names()}
        assert types == {
            "customer-churn": TaskType.BINARY_CLASSIFICATION,
            "customer-department": TaskType.MULTICLASS_CLASSIFICATION,
            "product-sales": TaskType.REGRESSION,
            "customer-products": TaskType.RECOMMENDATION,
            "review-rating": TaskType.REGRESSION,
        }

    def test_labels_suffice(self, dataset):
        for split, least in [("train", 1_500), ("val", 300), ("test", 300)]:
            churn = labels(dataset, "customer-churn", split)["churn"]
            assert len(churn) >= least and 0.25 <= churn.mean() <= 0.6
        assert labels(dataset, "customer-churn", "train")["timestamp"].nunique() == 10
        assert set(labels(dataset, "customer-department", "train")["department"]) == set(range(6))

    @pytest.mark.parametrize("task", FORECASTS)
    def test_stored_labels_are_those_of_the_sql(self, dataset, task):
        fresh = dataset.load_task(task, regenerate=True)
        for split in SPLITS:
            expected = fresh.get_table(split, mask_input_cols=False).df.reset_index(drop=True)
            pd.testing.assert_frame_equal(labels(dataset, task, split), expected, check_dtype=False)

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_labels_follow_from_the_next_window(self, dataset, frames, split):
        start = dataset.val_timestamp if split == "val" else dataset.test_timestamp
        span = pd.Timedelta(days=84)
        orders, visits, items = frames["orders"], frames["visits"], frames["order_items"]
        coming = orders[(orders["ordered_at"] > start) & (orders["ordered_at"] <= start + span)]
        seen = [
            frame["customer_id"][(frame[time] > start - 2 * span) & (frame[time] <= start)].dropna()
            for frame, time in [(orders, "ordered_at"), (visits, "visited_at")]
        ]
        churn = labels(dataset, "customer-churn", split)
        assert churn["customer_id"].tolist() == sorted(set(pd.concat(seen)))
        assert churn["churn"].tolist() == (~churn["customer_id"].isin(coming["customer_id"])).astype(int).tolist()

        sold = items[(items["ordered_at"] > start) & (items["ordered_at"] <= start + span)]
        sales = labels(dataset, "product-sales", split)
        units = sold.groupby("product_id")["quantity"].sum().reindex(sales["product_id"], fill_value=0)
        assert sales["units"].tolist() == units.tolist()
        assert (frames["products"]["launched_at"].to_numpy()[sales["product_id"]] <= start.to_datetime64()).all()

        baskets = labels(dataset, "customer-products", split).set_index("customer_id")["product_id"]
        bought = sold.merge(orders[["order_id", "customer_id"]], on="order_id").groupby("customer_id")["product_id"]
        new = set(frames["products"]["product_id"][frames["products"]["launched_at"] > start])
        old = set(frames["customers"]["customer_id"][frames["customers"]["signed_up_at"] <= start])
        expected = {customer: set(products) - new for customer, products in bought if customer in old}
        assert {c: set(products) for c, products in baskets.items()} == {c: p for c, p in expected.items() if p}

        categories = frames["categories"]
        department = categories["parent_id"].fillna(categories["category_id"])
        spent = sold.merge(orders[["order_id", "customer_id"]], on="order_id")
        spent = spent.merge(frames["products"], on="product_id")
        spent = spent.dropna(subset="category_id").assign(
            department=lambda df: df["category_id"].map(department), amount=lambda df: df["quantity"] * df["unit_price"]
        )
        favourite = spent.groupby(["customer_id", "department"])["amount"].sum().unstack().idxmax(axis=1)
        chosen = labels(dataset, "customer-department", split).set_index("customer_id")["department"]
        assert chosen.to_dict() == favourite[favourite.index.isin(old)].to_dict()

    def test_relbench_evaluates_predictions(self, dataset):
        truth = labels(dataset, "customer-churn", "test")["churn"].to_numpy(float)
        assert dataset.load_task("customer-churn").evaluate(truth)["roc_auc"] == 1
        units = labels(dataset, "product-sales", "test")["units"].to_numpy()
        assert dataset.load_task("product-sales").evaluate(units)["nmae"] == 0
        task = dataset.load_task("customer-products")
        nothing = np.full((len(task.get_table("test")), task.eval_k), -1)
        assert task.evaluate(nothing)["map"] == 0
        classes = labels(dataset, "customer-department", "test")["department"].to_numpy()
        assert dataset.load_task("customer-department").evaluate(classes, metrics=[accuracy_score]) == {
            "accuracy_score": 1
        }

    def test_rating_task_hides_what_gives_it_away(self, dataset):
        reviews = dataset.load_task("review-rating").get_db().table_dict["reviews"].df
        assert not {"rating", "text"} & set(reviews)


def history(frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """What happened to each customer: one number per row, with its time."""
    shipments = frames["shipments"].merge(frames["orders"][["order_id", "customer_id"]], on="order_id")
    rows = {
        "discount": (frames["orders"], "ordered_at"),
        "seconds": (frames["visits"].assign(seconds=np.log(frames["visits"]["seconds"])), "visited_at"),
        "rating": (frames["reviews"], "reviewed_at"),
        "days_late": (shipments, "delivered_at"),
    }
    return {
        column: pd.DataFrame({"customer_id": df["customer_id"], "time": df[time], "value": df[column].astype(float)})
        for column, (df, time) in rows.items()
    }


def customer_features(frames: dict[str, pd.DataFrame], seeds: pd.DataFrame) -> pd.DataFrame:
    """The customer's own row (``own_``), aggregates of all rows (``all_``) and of recent ones (``new_``)."""
    parts = []
    for now, group in seeds.groupby("timestamp"):
        own = frames["customers"].set_index("customer_id").loc[group["customer_id"]]
        features = pd.DataFrame(
            {
                "own_tenure": (now - own["signed_up_at"]).dt.days,
                "own_age": (now - own["birth_date"]).dt.days,
                "own_country": own["country"].astype("category").cat.codes,
                "own_channel": own["channel"].astype("category").cat.codes,
                "own_newsletter": own["newsletter"].astype(int),
            }
        )
        for column, rows in history(frames).items():
            past = rows[rows["time"] <= now].sort_values("time")
            recent = past[past["time"] > now - pd.Timedelta(days=60)]
            by_customer = past.groupby("customer_id")
            found = {
                f"all_{column}_count": by_customer.size(),
                f"all_{column}_mean": by_customer["value"].mean(),
                f"new_{column}_count": recent.groupby("customer_id").size(),
                f"new_{column}_mean": recent.groupby("customer_id")["value"].mean(),
                f"new_{column}_age": (now - by_customer["time"].max()).dt.days,
                f"new_{column}_last": by_customer.tail(2).groupby("customer_id")["value"].mean(),
            }
            features = features.join(pd.DataFrame(found))
        parts.append(features.assign(churn=group["churn"].to_numpy()))
    return pd.concat(parts).fillna({c: 0 for c in parts[0] if c.endswith("_count")})


@pytest.fixture(scope="module")
def auroc(dataset, frames) -> dict[str, float]:
    """The test AUROC on customer-churn of one model on more and more of the features."""
    train, test = (customer_features(frames, labels(dataset, "customer-churn", split)) for split in ("train", "test"))
    scores = {}
    for name, prefixes in [("own", ("own_",)), ("all", ("own_", "all_")), ("new", ("own_", "all_", "new_"))]:
        columns = [c for c in train if c.startswith(prefixes)]
        model = HistGradientBoostingClassifier(
            max_iter=120, learning_rate=0.05, max_leaf_nodes=6, l2_regularization=5.0, random_state=0
        )
        with threadpool_limits(1):  # on a busy machine its threads wait for each other
            model.fit(train[columns], train["churn"])
            scores[name] = roc_auc_score(test["churn"], model.predict_proba(test[columns])[:, 1])
    return scores


class TestSignal:
    """A model that ignores the graph, or the order of time, must do clearly worse."""

    def test_own_row_says_little(self, auroc):
        assert auroc["own"] < 0.62

    def test_neighbours_say_much(self, auroc):
        assert auroc["new"] > 0.76
        assert auroc["new"] > auroc["own"] + 0.15

    def test_recent_rows_count_more(self, auroc):
        assert auroc["own"] + 0.05 < auroc["all"] < auroc["new"] - 0.03

    def test_other_tasks_depend_on_neighbours(self, dataset, frames):
        now, test = dataset.test_timestamp, labels(dataset, "product-sales", "test")
        items = frames["order_items"][frames["order_items"]["ordered_at"] <= now]
        items = items[items["ordered_at"] > now - pd.Timedelta(days=84)]
        last = items.groupby("product_id")["quantity"].sum().reindex(test["product_id"], fill_value=0)
        assert mean_absolute_error(test["units"], last) < 0.85 * (test["units"] - test["units"].median()).abs().mean()

        visits = frames["visits"][frames["visits"]["visited_at"] <= now].dropna(subset="customer_id")
        task = dataset.load_task("customer-products")
        popular = items["product_id"].value_counts().index[: task.eval_k].tolist()
        seen = visits.iloc[::-1].groupby("customer_id")["product_id"].agg(lambda p: list(dict.fromkeys(p)))
        guesses = [
            list(dict.fromkeys(seen.get(customer, [])[:5] + popular))[: task.eval_k]
            for customer in task.get_table("test").df["customer_id"]
        ]
        everyone = np.tile(popular, (len(guesses), 1))
        assert task.evaluate(np.array(guesses))["map"] > task.evaluate(everyone)["map"] + 0.03
