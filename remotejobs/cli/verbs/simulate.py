"""`remotejob simulate`: start simulated Windows hosts on loopback, for tests, demos and rehearsals.

Knows bound parameters and the simulated hosts. Must not know how a job is run.
"""
