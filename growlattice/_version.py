__version__ = "0.1.0"

# Where the documentation can be read, such as "https://.../en/latest"; None while it is published nowhere, and then
# nothing links there. pyproject.toml names the same place.
DOCUMENTATION = None
