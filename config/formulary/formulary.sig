# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "gSz5x+YUbzlpnh6UrnZqoWlEk2jGMX/DVtStWaJ5pox2Ms2nTrZ6sFF9Yur4gd0FdA+g/DAkEevwcBoCf9MEBQ=="
