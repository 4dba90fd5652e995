/* hold: keeps a VNF's own command back until its interfaces exist.
 *
 *   hold FIFO ARGV...   one byte from FIFO releases it; then it becomes ARGV
 *   hold FIFO --wait    after the byte it stays as pid 1, reaps, and ends on SIGTERM
 *
 * Never a shell, never an interpreter: execvp(3) hands a file of unknown format to /bin/sh, so the search
 * through PATH is our own. Ends with 125 for its own troubles, 126 for a file that cannot be run, 127 for
 * one that is not there, as shells and Docker do. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void quit(int number) { _exit(128 + number); }

static int fail(int status, const char *name, const char *what) {
    dprintf(2, "hold: %s: %s\n", name, what);
    return status;
}

static int cannot_run(const char *file, int error) {
    if (error == ENOENT && access(file, F_OK) == 0) /* the file is there, its #! line or ELF loader is not */
        return fail(127, file, "its interpreter (#! line or program loader) is not in the image");
    if (error == ENOEXEC)
        return fail(126, file, "neither a program for this machine nor a script with a #! line");
    return fail(error == ENOENT || error == ENOTDIR ? 127 : 126, file, strerror(error));
}

static int become(char **argv) {
    const char *path = getenv("PATH");
    char file[PATH_MAX];
    int denied = 0;

    if (strchr(argv[0], '/')) {
        execv(argv[0], argv);
        return cannot_run(argv[0], errno);
    }
    for (path = path ? path : "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"; path;) {
        int length = (int)strcspn(path, ":");
        int written = snprintf(file, sizeof file, "%.*s/%s", length ? length : 1, length ? path : ".", argv[0]);
        path = path[length] ? path + length + 1 : NULL;
        if (written < 0 || (size_t)written >= sizeof file)
            continue;
        execv(file, argv);
        if (errno == EACCES)
            denied = 1;
        else if ((errno != ENOENT && errno != ENOTDIR) || access(file, F_OK) == 0)
            return cannot_run(file, errno);
    }
    return cannot_run(argv[0], denied ? EACCES : ENOENT);
}

int main(int argc, char **argv) {
    char byte;
    int fifo;
    ssize_t count;

    if (argc < 3)
        return fail(125, "usage", "hold FIFO ARGV... | hold FIFO --wait");
    /* The kernel drops signals without a handler for pid 1: a held container would ignore its stop. */
    signal(SIGTERM, quit);
    signal(SIGINT, quit);
    signal(SIGQUIT, quit);
    if ((fifo = open(argv[1], O_RDONLY | O_CLOEXEC)) < 0)
        return fail(125, argv[1], strerror(errno));
    while ((count = read(fifo, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (count != 1)
        return fail(125, argv[1], count ? strerror(errno) : "closed before the release");
    if (argc == 3 && strcmp(argv[2], "--wait") == 0) {
        signal(SIGCHLD, SIG_IGN); /* the kernel reaps children and adopted orphans by itself */
        for (;;)
            pause();
    }
    return become(argv + 2);
}
