"""The page that goes with shared weights: what they are, what they were trained on, and how well they did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from huggingface_hub import ModelCard, ModelCardData

if TYPE_CHECKING:
    from relbench_pretrain.pretrained.network import SharedNetwork

NOT_STATED = "not stated"

TEMPLATE = """---
{{ card_data }}
---
# {{ name }}

{% if description %}{{ description }}

{% endif %}This is {{ kind }} (`{{ network }}`, {{ weights }} weights). It was trained with relbench-pretrain, by `{{ system }}`.

## How to load it

```python
from relbench_pretrain import from_pretrained
network = from_pretrained("{{ name }}")  # a folder, or a name on the Hub
```

{{ usage }}## Data

{% for fact, value in data.items() %}* {{ fact }}: {{ value }}
{% endfor %}
## Metrics

{% if metrics %}As logged when the weights were saved, at step {{ step }}, epoch {{ epoch }} (the first is 0).

| metric | value |
|---|---|
{% for metric, value in metrics.items() %}| {{ metric }} | {{ value }} |
{% endfor %}{% else %}Not stated.
{% endif %}
## Licence

{{ licence }}.
"""  # noqa: E501  # a paragraph of a page is one line


class CardText(NamedTuple):
    """The sentences of a model card that are the same for all networks of a class.

    Args:
        kind: What such a network is, after "This is".
        tag: What the Hub finds it by.
        usage: How it is used, in Markdown, with ``{name}`` for its name.
    """

    kind: str
    tag: str
    usage: str = ""


def model_card(
    network: SharedNetwork,
    name: str,
    licence: str | None = None,
    dataset: str | None = None,
    description: str | None = None,
) -> ModelCard:
    """Writes a model card; what is not known is said to be not stated.

    Args:
        network: The network, with what is known of its training.
        name: What it is called: a folder's name, or one on the Hub.
        licence: An identifier such as ``mit``.
        dataset: What to call the data, in place of what the run noted.
        description: What else there is to say.
    """
    text, info = network.card, network.training_info
    data = {"dataset": NOT_STATED} | _part(info, "data") | ({"dataset": dataset} if dataset else {})
    return ModelCard.from_template(
        ModelCardData(
            license=licence, library_name="relbench-pretrain", tags=["relbench-pretrain", "relational-data", text.tag]
        ),
        template_str=TEMPLATE,
        name=name,
        description=description,
        kind=text.kind,
        network=type(network).__name__,
        weights=f"{sum(value.numel() for value in network.parameters()):,}",
        system=info.get("system", NOT_STATED),
        usage=text.usage.format(name=name),
        data=data | network.data_facts(),
        metrics=_metrics(info),
        step=info.get("step", NOT_STATED),
        epoch=info.get("epoch", NOT_STATED),
        licence=licence or NOT_STATED.capitalize(),
    )


def _metrics(info: dict[str, Any]) -> dict[str, str]:
    return {
        name: f"{value:.4g}"
        for name, value in sorted(_part(info, "metrics").items())
        if isinstance(value, (int, float)) and name.startswith(("train/", "val/", "test/"))
    }


def _part(info: dict[str, Any], name: str) -> dict[str, Any]:
    found = info.get(name)
    return found if isinstance(found, dict) else {}
