"""pytest-sonemu: an emulated NFV infrastructure for tests, and service packages that run on it."""
