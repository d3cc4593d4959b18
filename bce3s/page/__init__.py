"""The page of runs: reports, outputs and measures of run directories as one HTML file."""
