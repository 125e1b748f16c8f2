#!/bin/sh
# The compiler of `make sanitize`: builds that stop at the first read or write out of bounds and at undefined behaviour.
exec env -u LD_PRELOAD "${SANITIZED_CC:-cc}" -fsanitize=address,undefined -fno-sanitize-recover=all -g "$@"
