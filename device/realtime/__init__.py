"""The scan loop process: trigger, stop, needle and gate lines. Imports no asyncio and parses no text."""
