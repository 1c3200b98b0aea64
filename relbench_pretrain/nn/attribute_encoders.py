"""PyTorch Frame's attribute encoders, made safe for any cell and foldable into the map that follows.

Every encoder here has the parameters, the buffers and, for cells that the original can encode, the
values of its PyTorch Frame base class. Two things are added.

*Any cell.* A missing number makes the original's weight gradient NaN, and after a step of the optimiser
its column is zero for good; an infinite number, a year before the first training year or a timestamp
column without statistics make it fail. Here a missing number or vector is encoded as zeros, and
so is any cell of a column that had no value in training.

*Folding.* A tabular network starts with a linear map W of the flattened encodings (num_rows,
num_columns * channels), the largest product of the whole network. But an encoding is itself features
times a matrix M, with few features, and W(Mx) = (WM)x. ``project`` returns the same values from
the cheaper of the two orders, without the encodings of the columns where it can.
"""

from __future__ import annotations

from torch_frame import stype

from relbench_pretrain.nn.affine_columns import CalendarEncoder, NumericalEncoder
from relbench_pretrain.nn.lookup_columns import CategoryEncoder, CategorySetEncoder, TextEncoder

ENCODERS = {
    stype.numerical: NumericalEncoder,
    stype.categorical: CategoryEncoder,
    stype.multicategorical: CategorySetEncoder,
    stype.timestamp: CalendarEncoder,
    stype.embedding: TextEncoder,
}
"""The encoder of each column type."""
