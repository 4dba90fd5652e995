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

static struct pool *pool_for(struct core *core, uint32_t length) {
    return length <= TINY ? &core->tiny : length <= SMALL ? &core->small : NULL;
}

int64_t taken_by(uint32_t length) {
    if (length <= SMALL)
        return OVERHEAD + (length <= TINY ? TINY : SMALL);
    return OVERHEAD + (length > SLOT / 2 ? SLOT : (int64_t)length);
}

static uint8_t *get_data(struct core *core, uint32_t length) {
    struct pool *pool = pool_for(core, length);
    if (!pool)
        return malloc(length);
    uint8_t *data = pool->first;
    if (!data)
        return malloc(pool == &core->tiny ? TINY : SMALL);
    memcpy(&pool->first, data, sizeof(uint8_t *));
    pool->count--;
    return data;
}

static void put_data(struct core *core, uint8_t *data, uint32_t length) {
    struct pool *pool = pool_for(core, length);
    if (!POOLED || !pool || pool->count == MOST_FREE) {
        free(data);
        return;
    }
    memcpy(data, &pool->first, sizeof(uint8_t *));
    pool->first = data;
    pool->count++;
}

static void free_pool(struct pool *pool) {
    while (pool->first) {
        uint8_t *data = pool->first;
        memcpy(&pool->first, data, sizeof(uint8_t *));
        free(data);
    }
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
    if (frame) {
        core->free_frames = frame->next;
        core->free_frame_count--;
    } else if (!(frame = malloc(sizeof *frame))) {
        return NULL;
    }
    memset(frame, 0, sizeof *frame);
    frame->way = way;
    way->users++;
    return frame;
}

void drop_frame(struct core *core, struct frame *frame) {
    if (frame->slot)
        put_slot(core, frame->slot);
    else if (frame->own)
        put_data(core, frame->data, frame->length);
    leave_way(frame->way);
    if (!POOLED || core->free_frame_count == MOST_FREE) {
        free(frame);
        return;
    }
    frame->next = core->free_frames;
    core->free_frames = frame;
    core->free_frame_count++;
}

/* A frame of this many bytes; NULL where memory has run out. */
struct frame *own_frame(struct core *core, struct way *way, uint32_t length) {
    struct frame *frame = new_frame(core, way);
    if (!frame)
        return NULL;
    frame->data = get_data(core, length);
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
    uint8_t *data = get_data(core, frame->length);
    if (!data)
        return false;
    memcpy(data, frame->data, frame->length);
    frame->data = data;
    frame->own = true;
    return true;
}

void lose(struct core *core, struct frame *frame) {
    core->held -= taken_by(frame->length);
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
    free_pool(&core->tiny);
    free_pool(&core->small);
}
