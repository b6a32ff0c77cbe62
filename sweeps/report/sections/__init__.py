"""Parts of the page: each module takes evidence and gives a section."""
