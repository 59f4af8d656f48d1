"""Tierline's core: resources, policies, wire frames and text. Pure: no cluster, no web server, no torch."""
