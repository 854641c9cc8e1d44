"""The command line and what serves it: clients of the control socket and readers of the journal."""
