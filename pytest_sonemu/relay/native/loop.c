/* The loop, and how Python makes it stand still. */
#include "core.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>

/* Many frames a ms: do not wake for each of them. They count from when they came; so only frames of links
 * without a delay are later for it, by half of REST. */
static bool rests(struct core *core, int64_t now) {
    if (now - core->window >= SECOND / 1000) {
        core->many = core->read >= MANY && now - core->window < 2 * SECOND / 1000;
        core->read = 0;
        core->window = now;
    }
    return core->many;
}

PUBLIC void core_run(struct core *core) {
    struct pollfd polls[2] = {{.fd = core->packets, .events = POLLIN}, {.fd = core->wake, .events = POLLIN}};
    bool more = false;

    set_up(core);
    while (!atomic_load(&core->stopped)) {
        if (atomic_load(&core->wanted)) {
            pthread_mutex_lock(&core->gate);
            pthread_mutex_unlock(&core->gate);
        }
        pthread_mutex_lock(&core->big);
        int64_t now = clock_ns(CLOCK_MONOTONIC), wait = -1;
        if (core->out) /* a change has let frames go */
            wait = 0;
        else if (core->count)
            wait = core->agenda[0].time > now ? core->agenda[0].time - now : 0;
        bool rest = rests(core, now);
        pthread_mutex_unlock(&core->big);
        if (!more && (wait || rest)) {
            if (rest)
                wait = REST;
            struct timespec limit = {wait / SECOND, wait % SECOND};
            polls[0].events = rest ? 0 : POLLIN;
            ppoll(polls, 2, wait < 0 ? NULL : &limit, NULL);
            if (polls[1].revents) {
                eventfd_t value;
                (void)!eventfd_read(core->wake, &value);
                continue;
            }
        }
        pthread_mutex_lock(&core->big);
        more = receive(core);
        run(core, clock_ns(CLOCK_MONOTONIC));
        flush(core);
        pthread_mutex_unlock(&core->big);
    }
}

PUBLIC void core_lock(struct core *core) {
    atomic_fetch_add(&core->wanted, 1);
    eventfd_write(core->wake, 1);
    pthread_mutex_lock(&core->gate);
    pthread_mutex_lock(&core->big);
    atomic_fetch_sub(&core->wanted, 1);
}

PUBLIC void core_unlock(struct core *core) {
    pthread_mutex_unlock(&core->big);
    pthread_mutex_unlock(&core->gate);
}

PUBLIC void core_stop(struct core *core) {
    atomic_store(&core->stopped, 1);
    eventfd_write(core->wake, 1);
}
