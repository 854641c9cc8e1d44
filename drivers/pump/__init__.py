"""Pump dialects: codecs and sessions without I/O, the serial line, one driver per dialect."""
