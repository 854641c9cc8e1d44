"""gpiozero drivers for every line of the console."""
