"""The row level against double loops, and the false negatives that it must leave out."""

import pytest
import torch

from relbench_pretrain.contrastive.row import RowContrast


def build(schema, temperature=0.7, **settings):
    torch.manual_seed(0)
    objective = RowContrast(temperature, **settings)
    objective.build(schema, 4)
    return objective.double()


def slow(objective, case, slow_loss, duplicate=None):
    losses = []
    for table, x in case.x.items():
        weight = objective.projection[table].weight
        ids, twins = case.row_id[table], (duplicate or case.row_id).get(table, case.row_id[table])
        for i in range(len(x)):
            scores = [
                (weight @ case.corrupted[table][i]) @ (weight @ x[j]) / objective.temperature for j in range(len(x))
            ]
            negatives = [scores[j] for j in range(len(x)) if ids[j] != ids[i] and twins[j] != twins[i]]
            losses.append(slow_loss(scores[i], negatives))
    return losses


def leaves(objective, case):
    return [*objective.parameters(), *case.vectors]


def test_agrees_with_loops(schema, case, check, slow_loss):
    objective = build(schema)
    check(objective(*case.arguments("row")), slow(objective, case, slow_loss), leaves(objective, case))


def test_large_tables_agree_with_loops(schema, case, check, slow_loss, one_by_one):
    objective = build(schema)
    check(objective(*case.arguments("row")), slow(objective, case, slow_loss), leaves(objective, case))


def test_identical_rows_are_no_negatives(schema, make_case, check, slow_loss):
    case = make_case({"items": 6, "people": 5})
    duplicate = {"items": torch.tensor([-5, 2, -5, 2, 9, 8])}
    objective = build(schema)
    losses = objective(*case.arguments("row"), duplicate)
    assert losses.num_negatives[losses.num_negatives > 0].tolist() == [4, 4, 4, 4, 5, 5] + [4] * 5
    check(losses, slow(objective, case, slow_loss, duplicate), leaves(objective, case))


def test_a_table_of_identical_rows_has_no_loss(schema, make_case):
    case = make_case({"keys": 3})
    losses = build(schema)(*case.arguments("row"), {"keys": torch.zeros(3, dtype=torch.int64)})
    assert losses.count == 0
    assert losses.sum == 0
    losses.sum.backward()
    assert case.x["keys"].grad.eq(0).all()


def test_a_row_that_comes_twice_is_no_negative_of_itself(schema, make_case, check, slow_loss):
    case = make_case({"items": 5})
    case.row_id["items"][3] = case.row_id["items"][1]
    objective = build(schema)
    losses = objective(*case.arguments("row"))
    assert losses.num_negatives.tolist() == [4, 3, 4, 3, 4]
    check(losses, slow(objective, case, slow_loss), leaves(objective, case))


@pytest.mark.parametrize("rows", [256, 257, 300])
def test_at_most_255_negatives(schema, make_case, rows):
    case = make_case({"items": rows, "keys": 3})
    losses = build(schema)(*case.arguments("row"))
    assert losses.count == rows + 3
    assert sorted(losses.num_negatives[losses.num_negatives > 0].unique().tolist()) == [2, 255]


def test_orthogonal_rows_in_closed_form(schema, make_case):
    """With W the identity and orthonormal rows, each loss is ln(1 + 3 e^(−1/τ))."""
    case = make_case({"items": 4})
    objective = build(schema, temperature=0.5)
    objective.projection["items"].weight.data = torch.eye(4, dtype=torch.float64)
    eye = {"items": torch.eye(4, dtype=torch.float64)}
    losses = objective(eye, eye, case.row_id)
    assert losses.loss.tolist() == pytest.approx([torch.tensor(1 + 3 * 2.718281828459045**-2).log().item()] * 4)


def test_gradcheck(schema, make_case):
    case = make_case({"items": 4, "keys": 3})
    objective = build(schema)
    tables = ["items", "keys"]

    def loss(*vectors):
        x, corrupted = dict(zip(tables, vectors[:2], strict=True)), dict(zip(tables, vectors[2:], strict=False))
        return objective(x, corrupted, case.row_id, {"items": torch.tensor([1, 1, 2, 3])}).normalized_sum

    assert torch.autograd.gradcheck(loss, [case.x[t] for t in tables] + [case.corrupted[t] for t in tables])


def test_numbers_of_rows_must_agree(schema, make_case):
    case = make_case({"items": 4})
    objective = build(schema)
    with pytest.raises(ValueError, match=r"corrupted\['items'\] has 0 entries for 4 rows"):
        objective(case.x, {}, case.row_id)
    with pytest.raises(ValueError, match=r"duplicate\['items'\] has 3 entries for 4 rows"):
        objective(case.x, case.corrupted, case.row_id, {"items": torch.arange(3)})
    with pytest.raises(ValueError, match=r"duplicate has the tables \['other'\]"):
        objective(case.x, case.corrupted, case.row_id, {"other": torch.arange(3)})
    with pytest.raises(ValueError, match=r"row_id\['items'\] has 0 entries for 4 rows"):
        objective(case.x, case.corrupted, {})
    with pytest.raises(ValueError, match=r"'item'.*not in the schema"):
        objective({"item": case.x["items"]}, case.corrupted, case.row_id)
