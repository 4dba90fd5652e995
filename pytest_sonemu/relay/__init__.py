"""Links that behave as told: a process that carries frames between interfaces over shaped links.

`client` starts and steers it; `model` says what a link does to frames. The process itself (`main`)
needs the standard library only.
"""
