"""``python -m relbench_pretrain`` is ``relbench-pretrain``."""

from relbench_pretrain.cli import main

if __name__ == "__main__":
    main()
