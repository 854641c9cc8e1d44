"""The asyncio daemon: pump, journal, limits, sessions and the control socket. Opens no IP socket, times no stroke."""
