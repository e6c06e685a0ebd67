#include "failure.h"

#include <stdarg.h>
#include <stdio.h>

int failure_set(struct failure *f, const char *kind, const char *format, ...) {
    if (f->kind == NULL) {
        f->kind = kind;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(f->text, sizeof f->text, format, arguments);
        va_end(arguments);
    }
    return -1;
}
