/* For tests: without a network, at given times. */
#include "core.h"

#include <stdlib.h>
#include <string.h>

PUBLIC void core_feed(
    struct core *core, struct way *way, const uint8_t *data, uint32_t length, unsigned tag_type, unsigned tag,
    int64_t now) {
    run(core, now);
    if (length < VNET + ETHERNET || length > LARGEST)
        return;
    /* Of just this size, so that a sanitizer sees what is read beyond it. */
    uint8_t *copy = malloc(HEADROOM + length);
    if (!copy)
        return;
    memcpy(copy + HEADROOM, data, length);
    take_in(core, way, copy + HEADROOM, length, tag_type, tag, NO_PLACE, now);
    for (struct frame *frame = core->out; frame; frame = frame->next)
        keep(core, frame);
    free(copy);
}

PUBLIC void core_advance(struct core *core, int64_t now) { run(core, now); }

/* The next frame that has crossed its way: its length, or 0; `due` is when, `way` whose. */
PUBLIC uint32_t core_collect(struct core *core, uint8_t *data, int64_t *due, struct way **way) {
    struct frame *frame = core->out;
    if (!frame)
        return 0;
    core->out = frame->next;
    if (!core->out)
        core->out_last = NULL;
    uint32_t length = frame->length;
    memcpy(data, frame->data, length);
    *due = frame->due;
    *way = frame->way;
    drop_frame(core, frame);
    return length;
}
