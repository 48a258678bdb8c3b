"""Score and images in, DICOM objects out; no network, no database."""
