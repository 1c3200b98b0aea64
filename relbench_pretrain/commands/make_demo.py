"""The command that writes the built-in demo database."""

from __future__ import annotations

from relbench_pretrain.datasets.shop.database import write_demo_database
from relbench_pretrain.errors import UserError
from relbench_pretrain.progress import work


def make_demo(output_dir: str = "demo-database", num_rows: int = 20_000, seed: int = 0) -> None:
    """Writes the built-in demo database, a made-up shop, as a RelBench folder.

    Args:
        output_dir: The folder to write, which must be new or empty.
        num_rows: Rows over all tables.
        seed: Another seed gives another database.

    Raises:
        UserError: If the folder holds anything, or a number is out of its range.
    """
    try:
        with work(f"writing a database of {num_rows:,} rows"):
            folder = write_demo_database(output_dir, num_rows, seed)
    except (ValueError, FileExistsError, NotADirectoryError) as error:
        raise UserError(str(error)) from error
    print(folder)
