"""How fast is it? Our way against the plain way, in one run on one machine."""
