"""The link level against double loops: both directions, self-references, parents out of sight."""

import pytest
import torch

from relbench_pretrain.contrastive.link import LinkContrast

PART_OF = ("items", "f2p_part_of", "items")
BUYER, SELLER = ("orders", "f2p_buyer", "people"), ("orders", "f2p_seller", "people")


def build(schema, temperature=0.7, **settings):
    torch.manual_seed(0)
    objective = LinkContrast(temperature, **settings)
    objective.build(schema, 4)
    return objective.double()


def slow(objective, schema, case, slow_loss):
    return [loss for key in schema.foreign_keys for loss in slow_links(objective, key, case, slow_loss)]


def slow_links(objective, key, case, slow_loss):
    weight, parent_id = objective.bilinear[key.edge_type], case.parent_id[key.edge_type]
    child, parent = case.x[key.child], case.x[key.parent]
    child_id, row_id = case.row_id[key.child], case.row_id[key.parent]

    def score(i, j):
        return child[i] @ weight @ parent[j] / objective.temperature

    def negative(i, j):
        return parent_id[i] != row_id[j] and not (key.child == key.parent and child_id[i] == row_id[j])

    for i, j in enumerate(case.parent_index[key.edge_type].tolist()):
        if j >= 0:
            yield slow_loss(score(i, j), [score(i, k) for k in range(len(parent)) if negative(i, k)])
            yield slow_loss(score(i, j), [score(k, j) for k in range(len(child)) if negative(k, j)])


def leaves(objective, case):
    return [*objective.parameters(), *case.vectors]


def test_agrees_with_loops(schema, case, check, slow_loss):
    objective = build(schema)
    check(objective(*case.arguments("link")), slow(objective, schema, case, slow_loss), leaves(objective, case))


def test_large_tables_agree_with_loops(schema, case, check, slow_loss, one_by_one):
    objective = build(schema)
    check(objective(*case.arguments("link")), slow(objective, schema, case, slow_loss), leaves(objective, case))


def only(case, edge_type, index, parent_id):
    """Reduces a case to one foreign key with the given links."""
    case.parent_index, case.parent_id = {edge_type: torch.tensor(index)}, {edge_type: torch.tensor(parent_id)}
    return case


def test_other_positives_are_left_out(schema, make_case):
    """Orders 0 and 1 belong to person 0: neither is a negative of it for the other."""
    case = only(make_case({"orders": 4, "people": 3}), BUYER, [0, 0, 1, -1], [10, 10, 11, -1])
    case.row_id = {"orders": torch.arange(4), "people": torch.tensor([10, 11, 12])}
    forward, reverse = build(schema)(*case.arguments("link")).num_negatives.view(2, 4).tolist()
    assert forward == [2, 2, 2, 0]
    assert reverse == [2, 2, 3, 0]


def test_a_parent_that_is_not_in_the_batch(schema, make_case):
    """Order 2's buyer is known and absent: no anchor, and a negative of all persons."""
    case = only(make_case({"orders": 3, "people": 2}), BUYER, [0, 1, -1], [10, 11, 99])
    case.row_id = {"orders": torch.arange(3), "people": torch.tensor([10, 11])}
    forward, reverse = build(schema)(*case.arguments("link")).num_negatives.view(2, 3).tolist()
    assert forward == [1, 1, 0]
    assert reverse == [2, 2, 0]


def test_linked_rows_are_told_by_number_also_when_they_come_twice(schema, make_case):
    """Person 10 comes twice; the copy is no negative of its orders, and they are none of its."""
    case = only(make_case({"orders": 2, "people": 3}), BUYER, [0, 2], [10, 11])
    case.row_id = {"orders": torch.arange(2), "people": torch.tensor([10, 10, 11])}
    forward, reverse = build(schema)(*case.arguments("link")).num_negatives.view(2, 2).tolist()
    assert forward == [1, 2]
    assert reverse == [1, 1]


def test_a_row_is_no_negative_of_itself_under_a_self_reference(schema, make_case):
    """Item 1 is part of item 0, item 2 of itself."""
    case = only(make_case({"items": 4}), PART_OF, [-1, 0, 2, -1], [-1, 20, 22, -1])
    case.row_id = {"items": torch.tensor([20, 21, 22, 23])}
    forward, reverse = build(schema)(*case.arguments("link")).num_negatives.view(2, 4).tolist()
    assert forward == [0, 2, 3, 0]  # not 0 (its parent), not 1 (itself); item 2 is its own parent
    assert reverse == [0, 2, 3, 0]  # of item 0: not 1 (its part), not 0 (itself)


def test_two_keys_to_one_parent_have_their_own_maps(schema, make_case):
    case = make_case({"orders": 5, "people": 4}, seed=3)
    objective = build(schema)
    for edge_type, other in ((BUYER, SELLER), (SELLER, BUYER)):
        objective.zero_grad()
        reduced = only(case, edge_type, [0, 1, 2, 3, 0], case.row_id["people"][[0, 1, 2, 3, 0]].tolist())
        objective(*reduced.arguments("link")).sum.backward()
        assert objective.bilinear[edge_type].grad.ne(0).any()
        assert objective.bilinear[other].grad.eq(0).all()


def test_the_reverse_direction_is_the_transpose(schema, make_case):
    """With one link and equal vectors, both directions see x_childᵀ W x_parent."""
    case = only(make_case({"orders": 2, "people": 2}), BUYER, [0, -1], [10, -1])
    case.row_id = {"orders": torch.arange(2), "people": torch.tensor([10, 11])}
    objective = build(schema, temperature=1.0)
    weight = objective.bilinear[BUYER]
    order, person = case.x["orders"], case.x["people"]
    losses = objective(*case.arguments("link")).loss
    scores = order @ weight @ person.T
    expected = [(scores[0, 1] - scores[0, 0]).exp().log1p(), (scores[1, 0] - scores[0, 0]).exp().log1p()]
    torch.testing.assert_close(losses[losses > 0], torch.stack(expected))


@pytest.mark.parametrize(
    "sizes", [{"orders": 40, "people": 30}, {"orders": 300, "people": 4}, {"orders": 4, "people": 300}]
)
def test_limit_of_negatives(schema, make_case, sizes):
    """The number of negatives is the smaller of what there is and the limit, on either path."""
    case = make_case(sizes, seed=2)
    everything = build(schema, max_negatives=1000)(*case.arguments("link"))
    limited = build(schema, max_negatives=20)(*case.arguments("link"))
    assert limited.count > 0
    assert torch.equal(limited.num_negatives, everything.num_negatives.clamp(max=20))


def test_gradcheck(schema, make_case):
    case = make_case({"items": 5, "keys": 3}, seed=1)
    objective = build(schema)

    def loss(items, keys):
        x = {"items": items, "keys": keys}
        return objective(x, {t: case.row_id[t] for t in x}, *some(case, x)).normalized_sum

    def some(case, x):
        return [{e: v for e, v in d.items() if e[0] in x} for d in (case.parent_index, case.parent_id)]

    assert torch.autograd.gradcheck(loss, [case.x["items"], case.x["keys"]])


def test_unknown_or_ill_sized_keys(schema, make_case):
    case = make_case({"orders": 3, "people": 2})
    objective = build(schema)
    with pytest.raises(ValueError, match=r"f2p_payer.*no foreign keys"):
        objective(case.x, case.row_id, *[{("orders", "f2p_payer", "people"): torch.zeros(3)}] * 2)
    with pytest.raises(ValueError, match=r"parent_index\[.*buyer.*\] has 2 entries for 3 rows"):
        objective(case.x, case.row_id, *[{BUYER: torch.zeros(2, dtype=torch.int64)}] * 2)
    with pytest.raises(ValueError, match=r"same keys; only one has .*buyer"):
        objective(case.x, case.row_id, {BUYER: torch.zeros(3, dtype=torch.int64)}, {})
