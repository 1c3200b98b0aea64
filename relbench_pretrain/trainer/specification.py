"""Reads what modules and callbacks may know of the data: the typed specification that a DataModule hands over."""

from __future__ import annotations

from inspect import getattr_static
from typing import Any, ClassVar, Protocol, TypeVar

from lightning.pytorch import Callback, LightningModule, Trainer

from relbench_pretrain.errors import UserError

S = TypeVar("S", bound="Specification")


class Specification(Protocol):
    """Describes data: a frozen dataclass of plain values and schemas, and of loaders where nothing else will do.

    Attributes:
        handed_over_by: The DataModules that hand it over, for messages.
    """

    handed_over_by: ClassVar[str]

    @property
    def about(self) -> dict[str, Any]:
        """The description of the data for a model card."""


class SpecificationError(UserError, TypeError):
    """Data that do not go with a module or callback; the message says which would."""


def specification(trainer: Trainer, kind: type[S], wanted_by: LightningModule | Callback) -> S:
    """Returns the specification of the data at hand.

    It is the one that the module was given, by ``module.specification = ...``, else that of the DataModule. So a
    module can be trained on loaders without a DataModule.

    Args:
        trainer: The trainer, once its DataModule is set up.
        kind: The class of the specification that is wanted.
        wanted_by: The module or callback that wants it, for the error's message.

    Raises:
        SpecificationError: If there is none, or one of another kind.
    """
    module, data = trainer.lightning_module, getattr(trainer, "datamodule", None)
    found = found_specification(trainer)
    if isinstance(found, kind):
        return found
    wants = f"{type(wanted_by).__name__} wants data with a {kind.__name__}"
    if found is None:
        there = "there is no DataModule" if data is None else f"{type(data).__name__} hands over none"
        raise SpecificationError(
            f"{wants}, and {there}: give {kind.handed_over_by} to the Trainer, or, to train on loaders alone, set "
            f"{type(module).__name__}.specification to what such a DataModule hands over"
        )
    given = getattr(module, "specification", None) is found
    owner = f"{type(module).__name__} was given" if given else f"{type(data).__name__} hands over"
    raise SpecificationError(f"{wants}, and {owner} a {type(found).__name__}: use {kind.handed_over_by}")


def found_specification(trainer: Trainer) -> Any:
    """Returns the specification of the data at hand whatever its kind, None for none."""
    owners: list[Any] = [trainer.lightning_module, getattr(trainer, "datamodule", None)]
    for owner in owners:
        # A property is looked for in the class, so that an error within it is not taken for its absence.
        if getattr_static(owner, "specification", None) is not None:
            found = owner.specification
            if found is not None:
                return found
    return None
