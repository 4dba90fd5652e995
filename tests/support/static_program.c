/* The only file of an image. As pid 1 it serves on TCP port 80 in IPv4 and IPv6, says so, and writes a line of JSON for
 * each client to the file that EVENTS names (/data/events.json). Otherwise by its first argument:
 *   echo TEXT...      writes its arguments        write PATH TEXT   writes a file
 *   remove PATH       removes a file              wait              stands until it is signalled
 *   status N          ends with N                 child             leaves a child behind and ends
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void ended(int number) {
    static const char words[] = "terminated\n";
    if (write(1, words, sizeof words - 1) < 0) _exit(1);
    _exit(number == SIGTERM ? 0 : 3);
}

static int serve(void) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    const char *events = getenv("EVENTS") ? getenv("EVENTS") : "/data/events.json";
    int one = 1, listener = socket(AF_INET6, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 8)) return 1;
    printf("serving\n");
    fflush(stdout);
    for (int count = 1;; count++) {
        static const char answer[] = "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
        char request[4096], line[64];
        int client = accept(listener, NULL, NULL);
        if (client < 0) continue;
        if (read(client, request, sizeof request) < 0 || write(client, answer, sizeof answer - 1) < 0) count--;
        close(client);
        int file = open(events, O_WRONLY | O_CREAT | O_APPEND, 0644);
        int length = snprintf(line, sizeof line, "{\"event\": \"client\", \"count\": %d}\n", count);
        if (write(file, line, length) < 0) return 1;
        close(file);
        printf("client %d\n", count);
        fflush(stdout);
    }
}

int main(int count, char **words) {
    signal(SIGTERM, ended);
    signal(SIGPIPE, SIG_IGN);
    if (count < 2) return serve();
    if (!strcmp(words[1], "echo")) {
        for (int at = 2; at < count; at++) printf("%s%c", words[at], at + 1 < count ? ' ' : '\n');
    } else if (!strcmp(words[1], "write") && count > 3) {
        FILE *file = fopen(words[2], "w");
        if (!file || fprintf(file, "%s\n", words[3]) < 0 || fclose(file)) return 1;
    } else if (!strcmp(words[1], "remove") && count > 2) {
        return unlink(words[2]) ? 1 : 0;
    } else if (!strcmp(words[1], "status") && count > 2) {
        return atoi(words[2]);
    } else if (!strcmp(words[1], "child")) {
        int begun[2]; /* closed when the child has become another program */
        if (pipe2(begun, O_CLOEXEC)) return 1;
        if (fork() == 0) {
            setsid();
            for (int stream = 0; stream < 3; stream++) close(stream);
            char *argv[] = {"/app", "wait", NULL};
            execv("/app", argv);
            _exit(1);
        }
        close(begun[1]);
        if (read(begun[0], begun, 1) < 0) return 1;
    } else {
        printf("waiting\n");
        fflush(stdout);
        for (;;) pause();
    }
    return 0;
}
