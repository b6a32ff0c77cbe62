"""Pictures: each module takes evidence and gives drawings."""
