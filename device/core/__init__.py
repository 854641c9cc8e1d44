"""Pure rules of the gun: no I/O, no clock, no randomness, no logging; standard library only."""
