"""Components as plain data: the class path and constructor arguments that make an equal one."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import warnings
from typing import Any

from torch import nn

from relbench_pretrain.errors import UserError
from relbench_pretrain.pretrained.safe_loading import CheckpointError
from relbench_pretrain.renamed import RenamedWarning, translated

Config = dict[str, Any]

TRUSTED_VARIABLE = "RELBENCH_PRETRAIN_TRUSTED_PACKAGES"
"""Names the packages, beside this one, whose networks may be made of what a file says."""


class DescriptionError(UserError, TypeError):
    """A component that plain data cannot describe, so that a folder of its weights could not be read again."""


def to_config(component: nn.Module) -> Config:
    """Describes a component in JSON types, the way YAML would.

    Args:
        component: A module that keeps each constructor argument as an attribute of the same name.

    Returns:
        ``{"class_path": ..., "init_args": ...}``; arguments that are components themselves are nested.

    Raises:
        DescriptionError: If an argument is not kept, or is neither plain nor a component.
    """
    init_args = {}
    for name in _arguments(type(component)):
        if not hasattr(component, name):
            raise DescriptionError(
                f"{type(component).__name__} does not keep its argument '{name}' as an attribute: add "
                f"'self.{name} = {name}' to its __init__, so that the network can be made again from a file"
            )
        init_args[name] = _plain(getattr(component, name), f"{type(component).__name__}.{name}")
    return {"class_path": class_path(type(component)), "init_args": init_args}


def class_path(kind: type) -> str:
    """Returns the public path of a class: the outermost package that exports it, so that its file may move.

    A class that no package exports, such as one of a script, has the path of its module.
    """
    parts = kind.__module__.split(".")
    for length in range(1, len(parts)):
        package = sys.modules.get(".".join(parts[:length]))
        if kind.__qualname__ in getattr(package, "__all__", ()) and getattr(package, kind.__qualname__) is kind:
            return ".".join([*parts[:length], kind.__qualname__])
    return f"{kind.__module__}.{kind.__qualname__}"


def _arguments(kind: type[nn.Module]) -> list[str]:
    if kind.__init__ is nn.Module.__init__:
        return []
    return [name for name in inspect.signature(kind.__init__).parameters if name != "self"]


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, (list, tuple, nn.ModuleList)):
        return [_plain(v, name) for v in value]
    if isinstance(value, nn.Module):
        return to_config(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(k): _plain(v, name) for k, v in value.items()}
    raise DescriptionError(f"{name} is a {type(value).__name__}; only plain values and modules can be described")


def from_config(config: Config) -> nn.Module:
    """Makes the component that :func:`to_config` described.

    Raises:
        CheckpointError: If the class is none, no module, or of a package that is not trusted, which is not even
            imported; or if the arguments are not its.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RenamedWarning)  # a file has these names, and nobody typed them
            config = translated(config)
        path, init_args = config["class_path"], dict(config["init_args"])
        found = _trusted_class(path)
        return found(**{name: _build(value) for name, value in init_args.items()})
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{str(config)[:200]} describes no network of this version: {error}") from error


def _trusted_class(path: str) -> type[nn.Module]:
    module_name, _, class_name = str(path).rpartition(".")
    own = __name__.partition(".")[0]
    trusted = {own, *os.environ.get(TRUSTED_VARIABLE, "").replace(",", " ").split()}
    if module_name.partition(".")[0] not in trusted:
        raise CheckpointError(
            f"'{path}' is no class of {own} and is not loaded: if you trust it, set the environment "
            f"variable {TRUSTED_VARIABLE}={module_name.partition('.')[0]}"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise CheckpointError(f"there is no class '{path}': install the package or version that has it") from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise CheckpointError(f"'{path}' is no torch module and is not loaded")
    if found.__module__.partition(".")[0] not in trusted:
        raise CheckpointError(f"'{path}' belongs to '{found.__module__}' and is not loaded")
    return found


def _build(value: Any) -> Any:
    if isinstance(value, list):
        return [_build(v) for v in value]
    if isinstance(value, dict) and set(value) == {"class_path", "init_args"}:
        return from_config(value)
    return value
