"""What holds in every test: a law is judged by its examples, never by how long the machine takes for one."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
