# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "N4y+72LgzPp/RY4+zqHC4OX6r7VWJ1lC59N89dIW7BJCHyQw4W1GwOdUJ6RqtHROXfOI7+ni+MOmQ628sRa4Dg=="
