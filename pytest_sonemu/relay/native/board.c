/* What Python makes, changes and asks: shapers, ways, the table of interfaces; core.py calls these. */
#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

PUBLIC struct core *core_new(int packets, int64_t most_held, const int64_t *limits) {
    struct core *core = calloc(1, sizeof *core);
    pthread_mutexattr_t inherit;
    if (!core)
        return NULL;
    core->packets = packets;
    core->most_held = most_held;
    memcpy(core->limits, limits, sizeof core->limits);
    core->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (unsigned place = 0; core->wake >= 0 && place < BATCH; place++) {
        uint8_t *slot = malloc(SLOT);
        if (slot) {
            set_slot(core, place, slot);
        } else {
            close(core->wake);
            core->wake = -1;
        }
    }
    if (core->wake < 0) {
        for (unsigned place = 0; place < BATCH; place++)
            free(core->slots[place]);
        free(core);
        return NULL;
    }
    pthread_mutexattr_init(&inherit);
    pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&core->gate, &inherit);
    pthread_mutex_init(&core->big, &inherit);
    pthread_mutexattr_destroy(&inherit);
    return core;
}

PUBLIC struct shaper *core_new_shaper(const struct settings *settings) {
    struct shaper *shaper = calloc(1, sizeof *shaper);
    if (shaper) {
        shaper->set = *settings;
        shaper->quantum = QUANTUM;
        shaper->users = 1;
    }
    return shaper;
}

/* Frames on their way leave by the time that it returns; lanes are to be told too, and then core_resume called. */
PUBLIC int64_t core_impair(struct core *core, struct shaper *shaper, const struct settings *settings, int64_t now) {
    int64_t rate = shaper->set.rate, busy = shaper->free_at > now ? shaper->free_at - now : 0;
    shaper->set = *settings;
    if (settings->rate != rate) { /* what is being sent, one frame at most, takes its rest at the new rate */
        if (busy)
            shaper->free_at = now + (settings->rate ? busy * rate / settings->rate : 0);
        shaper->rest = 0;
    }
    int64_t latest = (shaper->free_at > now ? shaper->free_at : now) + settings->delay + WIDEST * settings->jitter;
    hurry(core, shaper, latest);
    return latest;
}

PUBLIC void core_hurry(struct way *way, uint32_t hop, int64_t latest) {
    if (way->lanes[hop].last_exit > latest)
        way->lanes[hop].last_exit = latest;
}

PUBLIC void core_resume(struct core *core, struct shaper *shaper, int64_t now) {
    if (shaper->first) {
        shaper->epoch++;
        serve(core, shaper, now);
    }
}

PUBLIC void core_leave_shaper(struct shaper *shaper) { leave_shaper(shaper); }

PUBLIC struct way *core_new_way(int32_t egress, struct shaper *const *shapers, uint32_t count) {
    struct way *way = calloc(1, sizeof *way + count * sizeof *way->lanes);
    if (!way)
        return NULL;
    way->users = 1;
    way->egress = egress;
    way->count = count;
    for (uint32_t hop = 0; hop < count; hop++) {
        way->lanes[hop].shaper = shapers[hop];
        way->lanes[hop].way = way;
        way->lanes[hop].last_exit = -1;
        shapers[hop]->users++;
    }
    return way;
}

PUBLIC void core_set_egress(struct way *way, int32_t egress) { way->egress = egress; }

/* Numbering starts again. */
PUBLIC void core_set_keys(struct way *way, uint32_t hop, uint64_t ip, uint64_t other) {
    way->lanes[hop].streams[0] = (struct stream){.key = ip};
    way->lanes[hop].streams[1] = (struct stream){.key = other};
}

PUBLIC void core_leave_way(struct way *way) { leave_way(way); }

/* Whether no frame is on it. */
PUBLIC int core_way_idle(const struct way *way) { return way->users == 1; }

PUBLIC const struct way_counters *core_way_counters(const struct way *way) { return &way->counters; }

PUBLIC const struct lane_counters *core_lane_counters(const struct way *way, uint32_t hop) {
    return &way->lanes[hop].counters;
}

/* Which way frames take that come in by these interfaces. Returns 0, or -1 when memory has run out. */
PUBLIC int core_set_table(struct core *core, const int32_t *indices, struct way *const *ways, uint32_t count) {
    size_t table = 16;
    while (table < 2 * (size_t)count)
        table *= 2;
    int32_t *new_indices = calloc(table, sizeof *new_indices);
    struct way **new_ways = calloc(table, sizeof(struct way *));
    if (!new_indices || !new_ways) {
        free(new_indices);
        free(new_ways);
        return -1;
    }
    for (uint32_t each = 0; each < count; each++) {
        size_t at = (uint32_t)indices[each] * 0x9E3779B1u & (table - 1);
        while (new_ways[at] && new_indices[at] != indices[each])
            at = (at + 1) & (table - 1);
        new_indices[at] = indices[each];
        new_ways[at] = ways[each];
    }
    free(core->indices);
    free(core->ways);
    core->indices = new_indices;
    core->ways = new_ways;
    core->table = table;
    return 0;
}

/* lateness by buckets, then: latest, held, frames without words, frames without memory */
PUBLIC void core_counters(const struct core *core, int64_t *values) {
    memcpy(values, core->lateness, sizeof core->lateness);
    values[BUCKETS] = core->latest;
    values[BUCKETS + 1] = core->held;
    values[BUCKETS + 2] = core->strange;
    values[BUCKETS + 3] = core->no_memory;
}

PUBLIC void core_free(struct core *core) {
    while (core->count) {
        struct entry entry = take(core);
        if (entry.kind == EXIT) {
            drop_frame(core, entry.subject);
        } else if (entry.kind == RELEASE) {
            while (entry.lane->held) {
                struct frame *frame = entry.lane->held;
                entry.lane->held = frame->next;
                drop_frame(core, frame);
            }
            leave_way(entry.subject);
        } else {
            struct shaper *shaper = entry.subject;
            while (shaper->first) {
                struct lane *lane = pop_turn(shaper);
                struct way *way = lane->way;
                way->users++;
                while (lane->first) {
                    struct frame *frame = lane->first;
                    lane->first = frame->next;
                    drop_frame(core, frame);
                }
                leave_way(way);
            }
            leave_shaper(shaper);
        }
    }
    while (core->out) {
        struct frame *frame = core->out;
        core->out = frame->next;
        drop_frame(core, frame);
    }
    free_pools(core);
    close(core->wake);
    pthread_mutex_destroy(&core->gate);
    pthread_mutex_destroy(&core->big);
    free(core->indices);
    free(core->ways);
    for (unsigned place = 0; place < BATCH; place++)
        free(core->slots[place]);
    free(core->agenda);
    free(core);
}
