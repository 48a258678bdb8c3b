"""Photograph in, score out: pure computation, no DICOM network, no database."""
