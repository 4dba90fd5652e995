/* A frame's way over its links: what is drawn for it at each, and what is due; as shaper.py. */
#include "core.h"

#include <string.h>

static void unhold(struct lane *lane, struct frame *frame) {
    struct frame **link = &lane->held;
    while (*link != frame)
        link = &(*link)->next;
    *link = frame->next;
    frame->next = NULL;
}

static void hold(struct core *core, struct lane *lane, struct frame *frame, int64_t now) {
    struct settings *set = &lane->shaper->set;
    struct frame **link = &lane->held;
    frame->hold = ++core->hold;
    frame->after = set->reorder_gap;
    struct entry entry = {
        .time = now + set->reorder_delay, .kind = RELEASE, .number = frame->hold, .subject = lane->way, .lane = lane};
    if (!keep(core, frame) || !put(core, entry)) {
        core->no_memory++;
        lose(core, frame);
        return;
    }
    lane->way->users++;
    while (*link)
        link = &(*link)->next;
    frame->next = NULL;
    *link = frame;
}

static void decide(struct core *core, struct lane *lane, struct frame *frame, int64_t now) {
    struct settings *set = &lane->shaper->set;
    struct stream *stream = &lane->streams[frame->kind];
    struct frame *twin = NULL;
    uint64_t key = stream->key, number = stream->number;

    stream->number += frame->segments;
    if (set->enter > 0) {
        double chance = unit(draw(key, number, STATE));
        if (number == 0)
            stream->bad = chance < set->enter / (set->enter + set->leave);
        else if (stream->bad)
            stream->bad = chance >= set->leave;
        else
            stream->bad = chance < set->enter;
    }
    double loss = stream->bad ? set->loss_bad : set->loss_good;
    if (loss > 0 && unit(draw(key, number, LOSS)) < loss) {
        lane->counters.lost += frame->segments;
        lose(core, frame);
        return;
    }
    frame->jitter = set->jitter ? jitter_of(set, key, number, JITTER) : 0;
    bool again = set->duplicate > 0 && unit(draw(key, number, DUPLICATE)) < set->duplicate;
    if (again && core->held > core->most_held) {
        lane->way->counters.memory += frame->segments;
    } else if (again) {
        lane->counters.duplicated += frame->segments;
        if ((twin = own_frame(core, frame->way, frame->length))) {
            memcpy(twin->data, frame->data, frame->length);
            twin->size = frame->size;
            twin->segments = frame->segments;
            twin->kind = frame->kind;
            twin->hop = frame->hop;
            twin->jitter = set->jitter ? jitter_of(set, key, number, COPY_JITTER) : 0;
            core->held += taken_by(twin->length);
        } else {
            core->no_memory++;
        }
    }
    if (set->corrupt > 0 && unit(draw(key, number, CORRUPT)) < set->corrupt) {
        lane->counters.corrupted += frame->segments;
        corrupt(frame->data, frame->length, draw(key, number, PLACE));
    }
    if (set->reorder > 0 && unit(draw(key, number, REORDER)) < set->reorder) {
        lane->counters.reordered += frame->segments;
        hold(core, lane, frame, now);
    } else {
        line_up(core, lane, frame, now);
    }
    if (twin)
        line_up(core, lane, twin, now);
}

static void pass_held(struct core *core, struct lane *lane, int64_t newest, int64_t now) {
    struct frame *each, *after;
    for (each = lane->held; each; each = each->next)
        if (each->hold <= newest)
            each->after--;
    for (each = lane->held; each; each = after) {
        after = each->next;
        if (each->after <= 0) {
            unhold(lane, each);
            line_up(core, lane, each, now);
        }
    }
}

static void arrive(struct core *core, struct lane *lane, struct frame *frame, int64_t now) {
    int64_t newest = core->hold; /* what was held before this frame came */
    struct way *way = lane->way;
    way->users++; /* the frame may be its last, and go here */
    lane->counters.packets += frame->segments;
    lane->counters.bytes += frame->size;
    if (lane->shaper->set.drawn)
        decide(core, lane, frame, now);
    else
        line_up(core, lane, frame, now);
    if (lane->held)
        pass_held(core, lane, newest, now);
    leave_way(way);
}

static void enter(struct core *core, struct frame *frame, int64_t now) {
    if (frame->hop == frame->way->count) {
        core->held -= taken_by(frame->length);
        frame->due = now;
        frame->next = NULL;
        if (core->out_last)
            core->out_last->next = frame;
        else
            core->out = frame;
        core->out_last = frame;
        return;
    }
    arrive(core, &frame->way->lanes[frame->hop], frame, now);
}

void start(struct core *core, struct frame *frame, int64_t now) {
    core->held += taken_by(frame->length);
    enter(core, frame, now);
}

void onward(struct core *core, struct frame *frame, int64_t now) {
    frame->hop++;
    enter(core, frame, now);
}

void run(struct core *core, int64_t now) {
    while (core->count && core->agenda[0].time <= now) {
        struct entry entry = take(core);
        if (entry.kind == EXIT) {
            onward(core, entry.subject, entry.time);
        } else if (entry.kind == SERVE) {
            struct shaper *shaper = entry.subject;
            if (entry.number == shaper->epoch)
                serve(core, shaper, entry.time);
            leave_shaper(shaper);
        } else {
            struct frame *frame = entry.lane->held;
            while (frame && frame->hold != entry.number)
                frame = frame->next;
            if (frame) {
                unhold(entry.lane, frame);
                line_up(core, entry.lane, frame, entry.time);
            }
            leave_way(entry.subject);
        }
    }
}
