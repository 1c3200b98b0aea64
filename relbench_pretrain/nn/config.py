"""Components as plain data: the class path and constructor arguments that make an equal one."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from torch import nn

Config = dict[str, Any]


def to_config(component: nn.Module) -> Config:
    """Describes a component in JSON types, the way YAML would.

    Args:
        component: A module that keeps each constructor argument as an attribute of the same name.

    Returns:
        ``{"class_path": ..., "init_args": ...}``; arguments that are components themselves are nested.

    Raises:
        TypeError: If an argument is not kept, or is neither plain nor a component.
    """
    init_args = {}
    for name in inspect.signature(type(component).__init__).parameters:
        if name == "self":
            continue
        if not hasattr(component, name):
            raise TypeError(f"{type(component).__name__} does not keep its argument '{name}' as an attribute")
        init_args[name] = _plain(getattr(component, name), f"{type(component).__name__}.{name}")
    return {"class_path": f"{type(component).__module__}.{type(component).__qualname__}", "init_args": init_args}


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, nn.Module):
        return to_config(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(v, name) for v in value]
    if isinstance(value, dict):
        return {str(k): _plain(v, name) for k, v in value.items()}
    raise TypeError(f"{name} is a {type(value).__name__}; only plain values and modules can be described")


def from_config(config: Config) -> nn.Module:
    """Makes the component that :func:`to_config` described.

    Raises:
        ValueError: If the class is none, or not a module: a description from elsewhere can make nothing else.
    """
    module_name, _, class_name = config["class_path"].rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"there is no class '{config['class_path']}': install the package that has it") from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise ValueError(f"'{config['class_path']}' is no torch module and is not loaded")
    return found(**{name: _build(value) for name, value in config["init_args"].items()})


def _build(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"class_path", "init_args"}:
        return from_config(value)
    return value
