"""Reports of a run: JSON, HTML, LaTeX, PDF, bundles."""
