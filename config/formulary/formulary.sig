# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "aPsrsgByFsb9ogFlXW54TworWwpRfh2LhhIjyHrTcCG2uzonevYkcTBAOAM42aNdXUSWMwXhEqw0aK2S1lwlBw=="
