"""Studies: plans of runs of the command line, their runner, results, tables and plots."""
