"""Everything that has weights: catalog, generators, perceptual metric, regressors."""
