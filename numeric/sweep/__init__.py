"""Sweeps: a grid in TOML, its configurations in an SQLite store, worked off by local processes or by a Ray cluster.

`grid` reads the file, whose forms of an axis are in `axes`, `expansion` makes the configurations, `store` and `leases`
keep them, `stack` computes some of them together, `task` is what a worker does with that, `answers` reads what it says,
`local` and `cluster` (with `head`) are the engines that tasks run on, `driver` brings them together, `cost` says what a
task takes, `tables` and `figures` show what came of it, `cli` is the command line.
"""
