"""What a reader gets: terminal tables, JSON documents, notebooks, and the report as a page, LaTeX, PDF and bundle."""
