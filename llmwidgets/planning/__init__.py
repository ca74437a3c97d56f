"""Plans: what a model would take on hardware that is not here. Formulas only, no torch."""
