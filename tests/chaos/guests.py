"""Strangers at the door: key ids foretold by an attacker, and floods of garbage where introspection is limited."""
