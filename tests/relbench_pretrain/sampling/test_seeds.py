"""Where subgraphs start: even shares, every row once before any comes back, ranks without overlap."""

from collections import Counter

import numpy as np
import pytest
import torch

from relbench_pretrain.sampling import SeedRows, SeedSampler

DAY = 86_400


@pytest.fixture
def seeds(shop):
    """All rows: 40 users, 8 items, 150 orders, 120 reviews, 30 tags, nothing."""
    return SeedRows.between(shop.index, None, shop.end)


def tables_of(shop, seeds, batch):
    rows = seeds.rows[torch.tensor(batch)].numpy()
    return Counter((np.searchsorted(shop.index.flat.offset, rows, side="right") - 1).tolist())


@pytest.mark.parametrize(("after", "until"), [(None, 20 * DAY), (10 * DAY, 20 * DAY), (10 * DAY - 1, 11 * DAY)])
def test_candidates_are_the_rows_of_the_span(shop, after, until):
    seeds, expected, times = SeedRows.between(shop.index, after, until), [], []
    for t, table in enumerate(shop.index.node_types):
        for row in range(shop.num_rows(table)):
            time = shop.time(table, row)
            if (time is None and after is None) or (
                time is not None and (after is None or after < time) and time <= until
            ):
                expected.append(shop.index.flat.offset[t] + row)
                times.append(until if time is None else time)
    assert seeds.rows.tolist() == expected
    assert seeds.time.tolist() == times
    assert seeds.count.sum() == len(expected)


def test_tables_can_be_chosen(shop):
    seeds = SeedRows.between(shop.index, None, 20 * DAY, ["items", "reviews"])
    names = {shop.index.node_types[t] for t in np.flatnonzero(seeds.count)}
    assert names == {"items", "reviews"}
    assert len(seeds.rows) == seeds.count.sum() == 8 + sum(shop.visible("reviews", r, 20 * DAY) for r in range(120))


@pytest.mark.parametrize("batch_size", [1, 3, 7, 32, 64, 200, 348, 1_000])
def test_shares_are_as_even_as_the_tables_allow(shop, seeds, batch_size):
    for batch in SeedSampler(seeds, batch_size, num_batches=6):
        share = tables_of(shop, seeds, batch)
        assert sum(share.values()) == min(batch_size, 348) == len(set(batch))
        # No table has two seeds less than another one, unless it is used up.
        most = max(share.values())
        for t, count in enumerate(seeds.count):
            assert share[t] >= min(count, most - 1)


@pytest.mark.parametrize("over", ["tables", "rows"])
def test_a_row_comes_back_only_after_all_others_of_its_table(shop, seeds, over):
    drawn = [seed for batch in SeedSampler(seeds, 29, over, num_batches=60) for seed in batch]
    table = np.repeat(np.arange(6), seeds.count)
    for t, count in enumerate(seeds.count):
        mine = [seed for seed in drawn if table[seed] == t]
        times = Counter(mine)
        if count:
            assert max(times.values()) - min(times[seed] for seed in np.flatnonzero(table == t)) <= 1
            assert len(mine) > count


def test_over_rows_gives_every_row_the_same_chance(shop, seeds):
    number, counts = 1_500, Counter()
    for batch in SeedSampler(seeds, 16, "rows", num_batches=number):
        share = tables_of(shop, seeds, batch)
        assert sum(share.values()) == 16
        counts.update({(t, share[t]): 1 for t in range(6)})
    for t, size in enumerate(seeds.count):
        mean = 16 * size / 348
        variance = mean * (1 - size / 348) * (348 - 16) / 347  # hypergeometric
        found = sum(n * times for (table, n), times in counts.items() if table == t) / number
        assert abs(found - mean) <= 4.5 * (variance / number) ** 0.5
        spread = sum((n - mean) ** 2 * times for (table, n), times in counts.items() if table == t) / number
        assert spread == pytest.approx(variance, rel=0.2)


@pytest.mark.parametrize("over", ["tables", "rows"])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_stream_of_one_process(seeds, over, world_size):
    whole = [sorted(batch) for batch in SeedSampler(seeds, 10 * world_size, over, num_batches=8)]
    ranks = [
        list(SeedSampler(seeds, 10, over, num_batches=8, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert all(len(batches) == 8 for batches in ranks)
    for number, batch in enumerate(whole):
        parts = [batches[number] for batches in ranks]
        assert all(len(part) == 10 for part in parts)
        assert sorted(seed for part in parts for seed in part) == batch


def test_by_default_an_epoch_draws_as_many_seeds_as_there_are(seeds):
    assert len(SeedSampler(seeds, 10)) == 34
    assert len(SeedSampler(seeds, 10, world_size=2)) == 17
    assert len(SeedSampler(seeds, 1_000)) == 1
    assert len(list(SeedSampler(seeds, 10))) == 34


def test_every_epoch_has_its_own_order_and_always_the_same(seeds):
    sampler = SeedSampler(seeds, 10, seed=3)
    first = list(sampler)
    assert list(sampler) == first
    sampler.begin(1)
    second = list(sampler)
    assert second != first
    sampler.begin(0)
    assert list(sampler) == first
    assert list(SeedSampler(seeds, 10, seed=4)) != first


def test_without_shuffling_all_epochs_are_alike(seeds):
    sampler = SeedSampler(seeds, 10, shuffle=False)
    first = list(sampler)
    sampler.begin(1)
    assert list(sampler) == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": "columns"}, "got 'columns'"),
        ({"batch_size": 0}, "got 0 and None"),
        ({"num_batches": 0}, "got 10 and 0"),
        ({"rank": 2, "world_size": 2}, "rank 2 is not one of 2"),
        ({"rank": 399, "world_size": 400}, "348 candidate seeds cannot be shared out to 400 processes"),
    ],
)
def test_errors_name_what_is_wrong(seeds, options, message):
    with pytest.raises(ValueError, match=message):
        SeedSampler(seeds, **{"batch_size": 10, **options})


def test_errors_name_the_table_and_the_times(shop):
    with pytest.raises(ValueError, match=r"seed tables \['user'\] are unknown"):
        SeedRows.between(shop.index, None, 0, ["user"])
    with pytest.raises(ValueError, match=r"no row of \['items'\] lies between the times 5 and 9"):
        SeedRows.between(shop.index, 5, 9, ["items"])
    with pytest.raises(ValueError, match="no row of any table"):
        SeedRows.between(shop.index, 10**9, 10**9 + 1)


def test_candidates_without_a_time_of_their_own_hold_one_number_for_all(shop):
    own, shared = (SeedRows.between(shop.index, None, 20 * DAY, own_time=own) for own in (True, False))
    assert torch.equal(own.rows, shared.rows)
    assert shared.rows.dtype == torch.int32
    assert shared.time.shape == own.time.shape and (shared.time == 20 * DAY).all()
    assert shared.time.untyped_storage().nbytes() == 8
    assert (own.time <= 20 * DAY).all() and own.time.unique().numel() > 1
