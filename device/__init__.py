"""mesogun: the runtime of a computer-controlled hair mesotherapy gun."""
