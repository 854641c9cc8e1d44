"""The process that talks MQTT. Has no device node, writes no journal, accepts no command."""
