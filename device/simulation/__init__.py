"""The whole gun in one thread and in virtual time: only clock, pins, bytes, disk and broker are simulated."""
