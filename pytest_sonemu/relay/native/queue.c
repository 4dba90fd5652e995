/* A shaper's queue, which its lanes share by deficit round robin, and its rate; as shaper.py. */
#include "core.h"

static void leave(struct core *core, struct lane *lane, struct frame *frame, int64_t now) {
    struct settings *set = &lane->shaper->set;
    int64_t wait = set->delay + frame->jitter, time = now + (wait > 0 ? wait : 0);
    lane->counters.sent_packets += frame->segments;
    lane->counters.sent_bytes += frame->size;
    if (!set->free_order && time < lane->last_exit)
        time = lane->last_exit;
    frame->jitter = 0;
    if (time == now && lane->last_exit < now && !set->rate) {
        onward(core, frame, now);
        return;
    }
    if (lane->last_exit < time)
        lane->last_exit = time;
    if (!keep(core, frame) || !put(core, (struct entry){.time = time, .kind = EXIT, .subject = frame})) {
        core->no_memory++;
        lose(core, frame);
    }
}

static void taken(struct lane *lane, struct frame *frame) {
    struct shaper *shaper = lane->shaper;
    lane->counters.queued_packets -= frame->segments;
    lane->counters.queued_bytes -= frame->size;
    shaper->packets -= frame->segments;
    shaper->bytes -= frame->size;
}

static void append_turn(struct shaper *shaper, struct lane *lane) {
    lane->next = NULL;
    if (shaper->last)
        shaper->last->next = lane;
    else
        shaper->first = lane;
    shaper->last = lane;
}

struct lane *pop_turn(struct shaper *shaper) {
    struct lane *lane = shaper->first;
    shaper->first = lane->next;
    if (!shaper->first)
        shaper->last = NULL;
    lane->next = NULL;
    return lane;
}

static void remove_turn(struct shaper *shaper, struct lane *lane) {
    struct lane *previous = NULL;
    for (struct lane *each = shaper->first; each != lane; each = each->next)
        previous = each;
    if (previous)
        previous->next = lane->next;
    else
        shaper->first = lane->next;
    if (shaper->last == lane)
        shaper->last = previous;
    lane->next = NULL;
}

static int64_t through_rate(struct shaper *shaper, const struct frame *frame, int64_t now) {
    struct settings *set = &shaper->set;
    if (!set->rate)
        return now;
    int64_t start = frame->arrived - set->burst;
    if (start > shaper->free_at) {
        shaper->free_at = start;
        shaper->rest = 0;
    }
    int64_t work = (int64_t)frame->size * 8 * SECOND + shaper->rest;
    shaper->free_at += work / set->rate;
    shaper->rest = work % set->rate;
    return shaper->free_at > frame->arrived ? shaper->free_at : frame->arrived;
}

void serve(struct core *core, struct shaper *shaper, int64_t now) {
    while (shaper->first) {
        if (shaper->free_at > now) {
            struct entry entry = {.time = shaper->free_at, .kind = SERVE, .number = shaper->epoch, .subject = shaper};
            if (put(core, entry))
                shaper->users++;
            else
                core->no_memory++;
            return;
        }
        struct lane *lane = shaper->first;
        struct frame *frame = lane->first;
        if (lane->deficit < frame->size) {
            if (shaper->quantum < frame->size)
                shaper->quantum = frame->size;
            lane->deficit += shaper->quantum;
            if (lane->next && lane->deficit < frame->size)
                append_turn(shaper, pop_turn(shaper));
            continue;
        }
        lane->first = frame->next;
        if (lane->first)
            lane->first->previous = NULL;
        else
            lane->last = NULL;
        frame->next = NULL;
        lane->deficit -= frame->size;
        taken(lane, frame);
        if (!lane->first)
            pop_turn(shaper);
        else if (lane->deficit < lane->first->size)
            append_turn(shaper, pop_turn(shaper));
        leave(core, lane, frame, through_rate(shaper, frame, now));
    }
}

static bool over(const struct shaper *shaper, const struct frame *frame) {
    const struct settings *set = &shaper->set;
    return shaper->packets && ((set->most_bytes >= 0 && shaper->bytes + frame->size > set->most_bytes) ||
                               (set->most_packets >= 0 && shaper->packets + frame->segments > set->most_packets));
}

static bool make_room(struct core *core, struct lane *lane, struct frame *frame) {
    struct shaper *shaper = lane->shaper;
    while (over(shaper, frame)) {
        struct lane *longest = shaper->first;
        for (struct lane *each = longest; each; each = each->next)
            if (each->counters.queued_bytes > longest->counters.queued_bytes)
                longest = each;
        if (longest == lane || longest->counters.queued_bytes <= lane->counters.queued_bytes + frame->size)
            return false;
        struct frame *last = longest->last;
        longest->last = last->previous;
        if (last->previous)
            last->previous->next = NULL;
        else
            longest->first = NULL;
        longest->counters.overflowed += last->segments;
        taken(longest, last);
        if (!longest->first)
            remove_turn(shaper, longest);
        lose(core, last);
    }
    return true;
}

void line_up(struct core *core, struct lane *lane, struct frame *frame, int64_t now) {
    struct shaper *shaper = lane->shaper;
    if (!shaper->set.rate && !shaper->first) {
        leave(core, lane, frame, now);
        return;
    }
    if (!make_room(core, lane, frame)) {
        lane->counters.overflowed += frame->segments;
        lose(core, frame);
        return;
    }
    if (!keep(core, frame)) {
        core->no_memory++;
        lose(core, frame);
        return;
    }
    frame->arrived = now;
    frame->next = NULL;
    frame->previous = lane->last;
    if (!lane->first) {
        lane->deficit = 0;
        lane->first = frame;
        append_turn(shaper, lane);
    } else {
        lane->last->next = frame;
    }
    lane->last = frame;
    lane->counters.queued_packets += frame->segments;
    lane->counters.queued_bytes += frame->size;
    shaper->packets += frame->segments;
    shaper->bytes += frame->size;
    if (shaper->packets == frame->segments) {
        shaper->epoch++;
        serve(core, shaper, now);
    }
}
