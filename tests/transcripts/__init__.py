"""Recorded sessions of PowerShell's jobs, played here line by line: their commands on jobs of ours, on simulated hosts.

A transcript is a script and all that it printed. `client` runs the script: it is read by the parser of the simulated
hosts' dialect, its job commands are bound by the command line's binder and done by the Python API (`commands`), on
hosts of `world`, whose time stands still unless a script sleeps or waits. `screen` shows what comes, by the views, and
holds it against what was recorded.

What is decided otherwise than in PowerShell is said once, in `decisions`.
"""
