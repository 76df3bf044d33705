"""Sweeps: a grid in TOML, its configurations in an SQLite store, worked off by local processes or by a Ray cluster.

`grid` reads the file, `expansion` makes the configurations, `store` and `leases` keep them, `stack` computes some of
them together, `task` is what a worker does with that, `local` and `cluster` are the engines that tasks run on, `driver`
brings them together, `cost` says what a task takes, `tables` and `figures` show what came of it, `cli` is the command
line.
"""
