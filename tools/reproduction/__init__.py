"""The tables and figures of the papers as data, and what trains, collects and draws them."""
