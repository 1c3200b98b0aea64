"""No batch comes twice: over processes, epochs, and the stop of a run."""

from types import SimpleNamespace

from datamodules.batch_numbers import training_numbers


def trainer(rank=0, world_size=1, epoch=0, had=0, under_way=True):
    batches = SimpleNamespace(current=SimpleNamespace(processed=had))
    epochs = SimpleNamespace(current=SimpleNamespace(ready=epoch + under_way, processed=epoch))
    loop = SimpleNamespace(epoch_progress=epochs, epoch_loop=SimpleNamespace(batch_progress=batches))
    return SimpleNamespace(global_rank=rank, world_size=world_size, fit_loop=loop)


def test_processes_and_epochs_share_all_numbers_out():
    taken = [number for epoch in (0, 1) for rank in (0, 1) for number in training_numbers(3, trainer(rank, 2, epoch))]
    assert sorted(taken) == list(range(12))
    assert list(training_numbers(3, None)) == [0, 1, 2]


def test_a_run_goes_on_where_it_was_stopped():
    whole = list(training_numbers(3, trainer(epoch=1)))
    # Lightning takes what is left of the epoch, then asks for the next one.
    assert list(training_numbers(3, trainer(epoch=1, had=2)))[:1] == whole[2:]
    assert list(training_numbers(3, trainer(epoch=1, had=3, under_way=False))) == whole  # a count of the epoch before
