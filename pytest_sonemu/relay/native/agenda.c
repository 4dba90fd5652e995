/* What is due when: a heap; among equal times the first to come is first. */
#include "core.h"

#include <stdlib.h>

static bool before(const struct entry *one, const struct entry *other) {
    return one->time != other->time ? one->time < other->time : one->order < other->order;
}

bool put(struct core *core, struct entry entry) {
    if (core->count == core->room) {
        size_t room = core->room ? 2 * core->room : 1024;
        struct entry *agenda = realloc(core->agenda, room * sizeof *agenda);
        if (!agenda)
            return false;
        core->agenda = agenda;
        core->room = room;
    }
    entry.order = ++core->order;
    size_t at = core->count++;
    while (at) {
        size_t up = (at - 1) / 2;
        if (!before(&entry, &core->agenda[up]))
            break;
        core->agenda[at] = core->agenda[up];
        at = up;
    }
    core->agenda[at] = entry;
    return true;
}

/* Put an entry where all above it are in order: at this place, or below it. */
static void sink(struct core *core, size_t at, struct entry entry) {
    for (;;) {
        size_t down = 2 * at + 1;
        if (down >= core->count)
            break;
        if (down + 1 < core->count && before(&core->agenda[down + 1], &core->agenda[down]))
            down++;
        if (!before(&core->agenda[down], &entry))
            break;
        core->agenda[at] = core->agenda[down];
        at = down;
    }
    core->agenda[at] = entry;
}

struct entry take(struct core *core) {
    struct entry first = core->agenda[0], last = core->agenda[--core->count];
    if (core->count)
        sink(core, 0, last);
    return first;
}

void hurry(struct core *core, const struct shaper *shaper, int64_t latest) {
    for (size_t at = 0; at < core->count; at++) {
        struct entry *entry = &core->agenda[at];
        if (entry->kind != EXIT || entry->time <= latest)
            continue;
        const struct frame *frame = entry->subject;
        if (frame->way->lanes[frame->hop].shaper == shaper)
            entry->time = latest;
    }
    for (size_t at = core->count / 2; at--;)
        sink(core, at, core->agenda[at]);
}
