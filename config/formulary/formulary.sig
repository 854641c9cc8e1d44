# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "Kpm0c73tRrnxbhecKyNDzqU/G1sHqn8+d4ytL/fglsbnXAgKYJ5AgLbbZ5Unnr+8A5XeyzY3IeGvAzQd1aGlCw=="
