"""The context level against double loops."""

import pytest
import torch

from relbench_pretrain.contrastive.context import ContextContrast

BUYER = ("orders", "f2p_buyer", "people")


def build(schema, temperature=0.7, **settings):
    torch.manual_seed(0)
    objective = ContextContrast(temperature, **settings)
    objective.build(schema, 4)
    return objective.double()


def slow(objective, case, slow_loss):
    losses = []
    for table, x in case.x.items():
        ids = case.row_id[table]
        for i in range(len(x)):
            means = []
            for (source, _, target), edges in case.edge_index.items():
                messages = [
                    objective.message[source](case.x[source][j]) for j, k in edges.T if target == table and k == i
                ]
                if messages:
                    means.append(torch.stack(messages).mean(0))
            if means:
                context = torch.stack(means).mean(0)
                scores = [context @ x[j] / objective.temperature for j in range(len(x))]
                losses.append(slow_loss(scores[i], [scores[j] for j in range(len(x)) if ids[j] != ids[i]]))
    return losses


def leaves(objective, case):
    return [*objective.parameters(), *case.vectors]


def test_agrees_with_loops(schema, case, check, slow_loss):
    objective = build(schema)
    check(objective(*case.arguments("context")), slow(objective, case, slow_loss), leaves(objective, case))


def test_large_tables_agree_with_loops(schema, case, check, slow_loss, one_by_one):
    objective = build(schema)
    check(objective(*case.arguments("context")), slow(objective, case, slow_loss), leaves(objective, case))


def test_a_row_without_a_neighbour_is_not_counted(schema, make_case):
    case = make_case({"orders": 3, "people": 3})
    case.edge_index = {
        BUYER: torch.tensor([[0, 1], [2, 2]]),
        ("people", "rev_f2p_buyer", "orders"): torch.zeros(2, 0).long(),
    }
    losses = build(schema)(*case.arguments("context"))
    assert losses.num_negatives.tolist() == [0, 0, 2]


def test_a_row_that_comes_twice_is_no_negative_of_itself(schema, make_case, check, slow_loss):
    case = make_case({"orders": 5, "people": 4}, seed=1)
    case.row_id["orders"][3] = case.row_id["orders"][1]
    objective = build(schema)
    check(objective(*case.arguments("context")), slow(objective, case, slow_loss), leaves(objective, case))


def test_a_table_without_keys_has_no_map(schema):
    objective = build(schema)
    assert set(objective.message.keys()) == {"items", "people", "orders", "keys"}
    assert all(linear.bias is not None for linear in objective.message.values())


@pytest.mark.parametrize("rows", [256, 257])
def test_at_most_255_negatives(schema, make_case, rows):
    case = make_case({"orders": rows, "people": 40})
    losses = build(schema)(*case.arguments("context"))
    assert losses.num_negatives.max() == 255
    assert losses.num_negatives[losses.num_negatives > 0].unique().tolist() == [39, 255]


def test_gradcheck(schema, make_case):
    case = make_case({"items": 4, "keys": 3}, seed=1)
    objective = build(schema)

    def loss(items, keys):
        x = {"items": items, "keys": keys}
        edges = {e: v for e, v in case.edge_index.items() if e[0] in x and e[2] in x}
        return objective(x, {t: case.row_id[t] for t in x}, edges).normalized_sum

    assert torch.autograd.gradcheck(loss, [case.x["items"], case.x["keys"]])


def test_unknown_edge_types(schema, make_case):
    case = make_case({"orders": 3, "people": 2})
    with pytest.raises(ValueError, match=r"f2p_payer.*not in the schema"):
        build(schema)(case.x, case.row_id, {("orders", "f2p_payer", "people"): torch.zeros(2, 1).long()})
