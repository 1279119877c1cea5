"""Breaks a mesh in containers in every way we know, under load, and checks what it promised. README.md says how."""
