"""Speed against the reference implementation, in one run on one machine."""
