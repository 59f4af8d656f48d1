"""Executing plans on an accelerator: persistent state on the device, one iteration launched ahead of the other."""
