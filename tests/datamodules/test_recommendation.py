"""Recommendation data: candidates, what is linked, what is seen when."""

import pytest
import torch

from datamodules import EntityTaskDataModule, RecommendationDataModule
from datamodules.recommendation import SameTimeBatches, linked
from relbench_pretrain.relational.tasks import RecommendationTable, TaskError


@pytest.fixture(scope="module")
def data():
    module = RecommendationDataModule("customer-products", "demo-small", batch_size=16, fanouts=[4, 2])
    module.setup("fit")
    return module


def test_linked_is_what_the_lists_say():
    labels = RecommendationTable(
        torch.arange(3), torch.zeros(3), torch.tensor([4, 1, 7, 7, 0]), torch.tensor([0, 2, 3, 5])
    )
    found = linked(labels, torch.tensor([2, 0]), torch.tensor([7, 4, 5, 0, 1]))
    assert found.tolist() == [[True, False, False, True, False], [False, True, False, False, True]]


def test_candidates_hold_a_true_destination_of_each_seed(data):
    table = data.task.get_table("train", mask_input_cols=False).df
    batch = next(iter(data.train_dataloader()))
    ids = batch["customers"].input_id
    store = batch.candidates["products"]
    rows = store.n_id[: store.batch_size]
    assert len(rows) == 2 * len(ids) > 2
    assert len(batch["customers"].seed_time.unique()) == 1
    launched = data.graph.time["products"]
    for i, label in enumerate(ids.tolist()):
        true = set(table[data.task.dst_entity_col][label])
        there = {row for row in true if launched[row] <= batch["customers"].seed_time[i]}
        assert int(rows[i]) in there or there != true
        assert batch.linked[i].tolist() == [row in true for row in rows.tolist()]


def test_no_row_around_a_candidate_is_later_than_its_seed(data):
    batch = next(iter(data.train_dataloader()))
    times = batch["customers"].seed_time.repeat(2)
    for name in batch.candidates.node_types:
        store = batch.candidates[name]
        if "time" in store:
            assert (store.time <= times[store.batch]).all()


def test_destinations_come_in_their_order(data):
    loader = data.destination_loader("test", data.test_time, "cutoff")
    rows = torch.cat([part["products"].n_id[: part["products"].batch_size] for part in loader])
    there = int((data.graph.time["products"] <= data.test_time).sum())
    assert torch.equal(rows, torch.arange(there))


def test_tasks_of_the_other_kind_are_refused_with_the_right_class():
    with pytest.raises(TaskError, match=r"binary_classification: use datamodules\.EntityTaskDataModule"):
        RecommendationDataModule("customer-churn", "demo-small").setup("fit")
    with pytest.raises(TaskError, match=r"recommendation: use datamodules\.RecommendationDataModule"):
        EntityTaskDataModule("customer-products", "demo-small").setup("fit")


def test_batches_are_of_one_time_and_hold_every_seed_once():
    time = torch.tensor([5, 3, 5, 5, 3, 9, 5, 5])
    sampler = SameTimeBatches(time, 2, 0)
    first = list(sampler)
    sampler.begin(1)
    second = list(sampler)
    assert first != second and len(first) == len(sampler) == 3
    for batches in (first, second):
        assert all(len(time[batch].unique()) == 1 for batch in batches)
        places = sorted(place for batch in batches for place in batch)
        assert len(places) == len(set(places)) == 6 and 5 not in places
