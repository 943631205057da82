"""Pages of docs/ that are made from the code, so that they cannot tell anything else: `make pages`; a test holds them."""
