"""`facenorm demo`: the whole loop on one machine, with a small PACS and a face of nobody."""
