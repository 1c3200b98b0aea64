"""What all downstream data do: shares of labels, regimes, stale training rows, the own time of autocomplete."""

import pytest
import torch

from datamodules import EntityTaskDataModule


def module(**options):
    made = EntityTaskDataModule("customer-churn", "demo-small", batch_size=64, fanouts=[4, 2], **options)
    made.setup("fit")
    return made


def test_smaller_shares_of_the_labels_are_part_of_larger_ones():
    used = [set(module(label_fraction=f).training_rows().tolist()) for f in (0.1, 0.5, 1.0)]
    number = len(used[2])
    assert [len(part) for part in used] == [round(0.1 * number), round(0.5 * number), number]
    assert used[0] < used[1] < used[2]
    assert used[1] != set(module(label_fraction=0.5, seed=1).training_rows().tolist())


def test_a_share_of_the_labels_is_what_training_sees():
    data = module(label_fraction=0.1)
    seen = torch.cat([batch["customers"].input_id for batch in data.train_dataloader()])
    assert set(seen.tolist()) == set(data.training_rows().tolist())
    assert len(data.val_dataloader().loader.dataset) == len(data.labels("val"))


def test_half_of_the_training_rows_are_stale_and_no_other_row_is():
    data, week = module(max_staleness_days=365.0), 7 * 86_400
    fresh = module()
    newest = {}
    for name, source in (("stale", data), ("fresh", fresh)):
        for split in ("train", "val"):
            for batch in source.loader(split):
                store, orders = batch["customers"], batch["orders"]
                age = torch.full((store.batch_size,), torch.inf).scatter_reduce(0, orders.batch, orders.age, "amin")
                newest.update({(name, split, i): a for i, a in zip(store.input_id.tolist(), age.tolist(), strict=True)})
    for split in ("train", "val"):
        later = [newest["stale", split, i] > newest["fresh", split, i] for _, s, i in newest if s == split]
        assert (0.1 < sum(later) / len(later) < 0.6) if split == "train" else not any(later)
    assert week > 0


def test_regimes_are_all_that_the_task_has():
    assert module().regimes == ["rolling", "cutoff"]
    assert module(regimes=["cutoff"]).regimes == ["cutoff"]
    rating = EntityTaskDataModule("review-rating", "demo-small", fanouts=[4])
    assert rating.regimes == ["rolling"]


@pytest.mark.parametrize("see", [False, True])
def test_autocomplete_rows_see_their_own_time_only_when_asked(see):
    data = EntityTaskDataModule("review-rating", "demo-small", fanouts=[4, 2], see_own_time=see)
    data.setup("fit")
    for batch in data.val_dataloader():
        times = batch["reviews"].seed_time
        for name in batch.node_types:
            store = batch[name]
            if "time" not in store:
                continue
            others = torch.arange(len(store.n_id)) >= (store.batch_size if name == "reviews" else 0)
            limit = times[store.batch[others]] - (0 if see else 1)
            assert (store.time[others] <= limit).all()


@pytest.mark.parametrize(
    "options", [{"regimes": ["future"]}, {"label_fraction": 0.0}, {"max_staleness_days": -1.0}], ids=str
)
def test_settings_that_mean_nothing_are_refused(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        EntityTaskDataModule("customer-churn", "demo-small", **options)


def test_past_labels_are_seen_only_when_their_window_is_over():
    data = module(past_labels=True)
    window = int(data.task.timedelta.total_seconds())
    train = data.task.get_table("train").df
    seen = 0
    for split in ("train", "val"):
        for batch in data.loader(split):
            times, store = batch["customers"].seed_time, batch["past_labels"]
            assert (store.time <= times[store.batch]).all()
            assert (store.time - window < times[store.batch]).all()
            seen += len(store.n_id)
    assert seen > 0
    assert data.graph.num_rows["past_labels"] == len(train)
