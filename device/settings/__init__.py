"""The configuration: what a console is told by files, checked whole before anything starts.

`load_configuration` returns all of it or raises one `ConfigurationError` with every problem in one line each.
pydantic stays inside this package; what leaves it are the core's frozen dataclasses in whole units. Imports the
core and the ports, so that the controller, the gateway and the command line can all import it.
"""

from device.settings.device_file import EXAMPLE_SITE
from device.settings.loading import (
    DEVICE_FILE,
    FORMULARY,
    Configuration,
    Loaded,
    MqttSettings,
    SerialSettings,
    find_configuration_directory,
    load_configuration,
    load_formulary,
)
from device.settings.problems import ConfigurationError, Problem

__all__ = [
    "DEVICE_FILE",
    "EXAMPLE_SITE",
    "FORMULARY",
    "Configuration",
    "ConfigurationError",
    "Loaded",
    "MqttSettings",
    "Problem",
    "SerialSettings",
    "find_configuration_directory",
    "load_configuration",
    "load_formulary",
]
