"""The service: receives, queues, scores, reports and sends; the only package that knows all others."""
