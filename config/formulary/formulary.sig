# The signature of formulary.toml, byte for byte.
key = "demo"
signature = "A6jt7cVP5CNsPNXY/cuVCQ5m38Pe4yAvIGJy+0Cz+cnyXB/2syXIRj6VvauHI7bORjkn/6cH6Q0ipR9ymL9dAg=="
