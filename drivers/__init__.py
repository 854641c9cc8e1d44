"""Ports and the concrete drivers behind them: GPIO, pump, simulator."""
