"""The base of the errors that a user can mend, below everything that raises one."""


class UserError(Exception):
    """An error in what was given: the message names it and the remedy, and the command line prints nothing else."""
