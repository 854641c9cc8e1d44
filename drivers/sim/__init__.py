"""The simulated console: a world that knows the truth, and drivers that reach it by the real interfaces."""
