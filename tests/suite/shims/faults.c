/* Preloaded by tests: makes one system call fail, as a dying disk or a full one does.
 *
 * FAULT is "CALL:ERRNO[:AFTER]": the call fails once it has succeeded AFTER times. Only regular files and
 * directories are affected, so that messages still come out.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int strikes(const char *call, int descriptor) {
    const char *fault = getenv("FAULT");
    size_t length = strlen(call);
    static __thread long seen;
    struct stat status;
    if (fault == NULL || strncmp(fault, call, length) != 0 || fault[length] != ':') return 0;
    if (descriptor >= 0) {
        if (descriptor <= 2 || fstat(descriptor, &status) != 0) return 0;
        if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return 0;
    }
    char *after;
    int number = (int)strtol(fault + length + 1, &after, 10);
    if (*after == ':' && seen++ < atol(after + 1)) return 0;
    errno = number;
    return 1;
}

int fsync(int descriptor) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return strikes("fsync", descriptor) ? -1 : real(descriptor);
}

ssize_t write(int descriptor, const void *buffer, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
    return strikes("write", descriptor) ? -1 : real(descriptor, buffer, count);
}

ssize_t read(int descriptor, void *buffer, size_t count) {
    ssize_t (*real)(int, void *, size_t) = dlsym(RTLD_NEXT, "read");
    return strikes("read", descriptor) ? -1 : real(descriptor, buffer, count);
}

int rename(const char *from, const char *to) {
    int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
    return strikes("rename", -1) ? -1 : real(from, to);
}
