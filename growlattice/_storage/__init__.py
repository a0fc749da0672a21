"""Fits as files: one file a fit, the key that names it, and a folder of them as memory."""
