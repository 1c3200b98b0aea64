"""Studies: plans of runs of the command line, their results, tables and plots."""
