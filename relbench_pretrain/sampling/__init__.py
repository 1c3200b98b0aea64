"""Samplers and loaders: from a graph to mini-batches."""

from relbench_pretrain.sampling.csc import GraphIndex
from relbench_pretrain.sampling.device import DeviceHGSampler, DeviceLoader
from relbench_pretrain.sampling.hgsampling import ANY_TABLE, HGSampler
from relbench_pretrain.sampling.loader import RelationalLoader
from relbench_pretrain.sampling.neighbors import TemporalNeighborSampler
from relbench_pretrain.sampling.seeds import SeedRows, SeedSampler

__all__ = [
    "ANY_TABLE",
    "DeviceHGSampler",
    "DeviceLoader",
    "GraphIndex",
    "HGSampler",
    "RelationalLoader",
    "SeedRows",
    "SeedSampler",
    "TemporalNeighborSampler",
]
