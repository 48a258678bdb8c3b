"""The commands of `facenorm`, one module each."""
