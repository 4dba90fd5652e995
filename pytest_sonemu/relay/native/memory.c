/* Frames and their bytes, and who still needs a shaper or a way. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

/* So that the sanitizer sees each use of what was given back. */
#ifdef __SANITIZE_ADDRESS__
#define POOLED false
#else
#define POOLED true
#endif

static void *get_small(struct core *core) {
    uint8_t *data = core->free_small;
    if (!data)
        return malloc(SMALL);
    memcpy(&core->free_small, data, sizeof(uint8_t *));
    return data;
}

static void put_small(struct core *core, uint8_t *data) {
    if (!POOLED) {
        free(data);
        return;
    }
    memcpy(data, &core->free_small, sizeof(uint8_t *));
    core->free_small = data;
}

uint8_t *get_slot(struct core *core) {
    uint8_t *slot = core->free_slots;
    if (!slot)
        return malloc(SLOT);
    memcpy(&core->free_slots, slot, sizeof(uint8_t *));
    core->free_slot_count--;
    return slot;
}

static void put_slot(struct core *core, uint8_t *slot) {
    if (!POOLED || core->free_slot_count == MOST_FREE_SLOTS) {
        free(slot);
        return;
    }
    memcpy(slot, &core->free_slots, sizeof(uint8_t *));
    core->free_slots = slot;
    core->free_slot_count++;
}

void set_slot(struct core *core, unsigned place, uint8_t *slot) {
    core->slots[place] = slot;
    core->vectors[place] = (struct iovec){slot + HEADROOM, LARGEST};
}

void leave_shaper(struct shaper *shaper) {
    if (--shaper->users == 0)
        free(shaper);
}

void leave_way(struct way *way) {
    if (--way->users)
        return;
    for (uint32_t hop = 0; hop < way->count; hop++)
        leave_shaper(way->lanes[hop].shaper);
    free(way);
}

struct frame *new_frame(struct core *core, struct way *way) {
    struct frame *frame = core->free_frames;
    if (frame)
        core->free_frames = frame->next;
    else if (!(frame = malloc(sizeof *frame)))
        return NULL;
    memset(frame, 0, sizeof *frame);
    frame->way = way;
    way->users++;
    return frame;
}

void drop_frame(struct core *core, struct frame *frame) {
    if (frame->slot)
        put_slot(core, frame->slot);
    else if (frame->own && frame->small)
        put_small(core, frame->data);
    else if (frame->own)
        free(frame->data);
    leave_way(frame->way);
    if (!POOLED) {
        free(frame);
        return;
    }
    frame->next = core->free_frames;
    core->free_frames = frame;
}

/* A frame of this many bytes; NULL where memory has run out. */
struct frame *own_frame(struct core *core, struct way *way, uint32_t length) {
    struct frame *frame = new_frame(core, way);
    if (!frame)
        return NULL;
    frame->small = length <= SMALL;
    frame->data = frame->small ? get_small(core) : malloc(length);
    frame->own = frame->data != NULL;
    frame->length = length;
    if (!frame->own) {
        drop_frame(core, frame);
        return NULL;
    }
    return frame;
}

/* Before a frame waits anywhere: its bytes must not lie in a slot any more. */
bool keep(struct core *core, struct frame *frame) {
    if (frame->own)
        return true;
    bool small = frame->length <= SMALL;
    /* A long frame takes its slot along: that is less work than to copy it. */
    if (frame->length > SLOT / 2 && frame->place != NO_PLACE) {
        uint8_t *fresh = get_slot(core);
        if (!fresh)
            return false;
        frame->slot = core->slots[frame->place];
        frame->own = true;
        set_slot(core, frame->place, fresh);
        return true;
    }
    uint8_t *data = small ? get_small(core) : malloc(frame->length);
    if (!data)
        return false;
    memcpy(data, frame->data, frame->length);
    frame->data = data;
    frame->small = small;
    frame->own = true;
    return true;
}

void lose(struct core *core, struct frame *frame) {
    core->held -= frame->length;
    drop_frame(core, frame);
}

void free_pools(struct core *core) {
    while (core->free_frames) {
        struct frame *frame = core->free_frames;
        core->free_frames = frame->next;
        free(frame);
    }
    while (core->free_slots) {
        uint8_t *slot = core->free_slots;
        memcpy(&core->free_slots, slot, sizeof(uint8_t *));
        free(slot);
    }
    while (core->free_small) {
        uint8_t *data = core->free_small;
        memcpy(&core->free_small, data, sizeof(uint8_t *));
        free(data);
    }
}
