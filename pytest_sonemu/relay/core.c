/* The relay's compiled core: the same shapers, decisions and cutting as shaper.py, decisions.py and offload.py,
 * which are the reference; a test compares them frame by frame. Python keeps the control: it makes shapers and
 * ways, asks for counters, and calls core_run on a thread of its own.
 *
 * Times are ns of CLOCK_MONOTONIC. Between core_lock and core_unlock the loop stands still. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define BATCH 64
#define VNET 10 /* the vnet header before each frame */
#define ETHERNET 14
#define HEADROOM 16 /* for a VLAN tag that is put back */
#define LARGEST (VNET + 65536 + ETHERNET + 8)
#define SLOT (HEADROOM + ((LARGEST + 63) / 64) * 64)
#define SMALL 2048
#define QUANTUM 1514
#define MOST_HOPS 32
#define CONTROL 128
#define MANY 40
#define REST 50000
#define OLDEST (20 * SECOND / 1000)

enum { NEEDS_CHECKSUM = 1, GSO_TCP4 = 1, GSO_FRAGMENTS = 3, GSO_TCP6 = 4, GSO_UDP = 5, GSO_ECN = 0x80 };
enum { LOSS, STATE, DUPLICATE, REORDER, CORRUPT, PLACE, JITTER, COPY_JITTER = 9 };
enum { UNIFORM, NORMAL, PARETO };
enum { EXIT, SERVE, RELEASE };

/* What Python fills in: see core.py. */
struct settings {
    int64_t rate, burst, most_packets, most_bytes, delay, jitter, distribution, free_order, drawn, by_frame;
    int64_t reorder_gap, reorder_delay;
    double enter, leave, loss_bad, loss_good, duplicate, reorder, corrupt;
};

struct lane_counters {
    int64_t packets, bytes, sent_packets, sent_bytes, lost, overflowed, duplicated, reordered, corrupted;
    int64_t queued_packets, queued_bytes;
};

struct way_counters {
    int64_t packets, bytes, sent_packets, sent_bytes, refused, memory;
};

struct frame {
    struct frame *next;
    struct way *way;
    uint8_t *data;
    int64_t arrived, jitter, due, hold, after;
    uint32_t length, size, segments;
    uint8_t kind, hop;
    bool own, small; /* whether `data` is the frame's own, and from the pool */
};

struct stream {
    uint64_t key, number;
    bool bad;
};

struct lane {
    struct shaper *shaper;
    struct lane *next; /* in the shaper's turn */
    struct way *way;
    struct stream streams[2];
    struct frame *first, *last;
    struct frame *held;
    int64_t deficit, last_exit;
    struct lane_counters counters;
};

struct shaper {
    struct settings set;
    struct lane *first, *last; /* lanes with a queue, the next to be served first */
    int64_t packets, bytes, free_at, rest, epoch, quantum;
    int64_t users; /* ways, entries on the agenda, and Python */
};

struct way {
    struct way_counters counters;
    int64_t users; /* frames, entries on the agenda, and Python */
    int32_t egress;
    uint32_t count;
    struct lane lanes[];
};

struct entry {
    int64_t time;
    uint64_t order;
    int kind;
    int64_t number; /* an epoch or a hold */
    void *subject;
    struct lane *lane;
};

struct slot {
    uint8_t bytes[SLOT];
};

#define BUCKETS 18

struct core {
    int packets, wake;
    atomic_int wanted, stopped;
    pthread_mutex_t gate, big;
    struct entry *agenda;
    size_t count, room;
    uint64_t order;
    int64_t hold;
    int64_t held, most_held;
    int64_t last_arrival;
    struct frame *out, *out_last;
    struct frame *free_frames;
    uint8_t *free_small;
    int32_t *indices;
    struct way **ways;
    size_t table; /* a power of two */
    struct slot *slots;
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_ll addresses[BATCH];
    _Alignas(struct cmsghdr) uint8_t controls[BATCH][CONTROL];
    int64_t read, window; /* frames read since */
    bool many;
    int64_t lateness[BUCKETS], latest, strange, no_memory;
    int64_t limits[BUCKETS - 1];
};

/* -- memory ------------------------------------------------------------------------------------------- */

static void *get_small(struct core *core) {
    uint8_t *data = core->free_small;
    if (!data)
        return malloc(SMALL);
    memcpy(&core->free_small, data, sizeof(uint8_t *));
    return data;
}

static void put_small(struct core *core, uint8_t *data) {
    memcpy(data, &core->free_small, sizeof(uint8_t *));
    core->free_small = data;
}

static void leave_shaper(struct shaper *shaper) {
    if (--shaper->users == 0)
        free(shaper);
}

static void leave_way(struct way *way) {
    if (--way->users)
        return;
    for (uint32_t hop = 0; hop < way->count; hop++)
        leave_shaper(way->lanes[hop].shaper);
    free(way);
}

static struct frame *new_frame(struct core *core, struct way *way) {
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

static void drop_frame(struct core *core, struct frame *frame) {
    if (frame->own && frame->small)
        put_small(core, frame->data);
    else if (frame->own)
        free(frame->data);
    leave_way(frame->way);
    frame->next = core->free_frames;
    core->free_frames = frame;
}

/* A frame of this many bytes; NULL where memory has run out. */
static struct frame *own_frame(struct core *core, struct way *way, uint32_t length) {
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
static bool keep(struct core *core, struct frame *frame) {
    if (frame->own)
        return true;
    bool small = frame->length <= SMALL;
    uint8_t *data = small ? get_small(core) : malloc(frame->length);
    if (!data)
        return false;
    memcpy(data, frame->data, frame->length);
    frame->data = data;
    frame->small = small;
    frame->own = true;
    return true;
}

static void lose(struct core *core, struct frame *frame) {
    core->held -= frame->length;
    drop_frame(core, frame);
}

/* -- the agenda --------------------------------------------------------------------------------------- */

static bool before(const struct entry *one, const struct entry *other) {
    return one->time != other->time ? one->time < other->time : one->order < other->order;
}

static bool put(struct core *core, struct entry entry) {
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

static struct entry take(struct core *core) {
    struct entry first = core->agenda[0], last = core->agenda[--core->count];
    size_t at = 0;
    for (;;) {
        size_t down = 2 * at + 1;
        if (down >= core->count)
            break;
        if (down + 1 < core->count && before(&core->agenda[down + 1], &core->agenda[down]))
            down++;
        if (!before(&core->agenda[down], &last))
            break;
        core->agenda[at] = core->agenda[down];
        at = down;
    }
    if (core->count)
        core->agenda[at] = last;
    return first;
}

/* -- decisions ---------------------------------------------------------------------------------------- */

static uint64_t draw(uint64_t key, uint64_t number, unsigned purpose) {
    uint64_t value = key + (16 * number + purpose + 1) * 0x9E3779B97F4A7C15u;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9u;
    value = (value ^ value >> 27) * 0x94D049BB133111EBu;
    return value ^ value >> 31;
}

static double unit(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

static int64_t jitter_of(const struct settings *set, uint64_t key, uint64_t number, unsigned purpose) {
    uint64_t bits = draw(key, number, purpose);
    double deviation;

    if (set->distribution == UNIFORM) {
        deviation = 2.0 * unit(bits) - 1.0;
    } else if (set->distribution == NORMAL) {
        uint64_t total = 0;
        for (unsigned word = 0; word < 3; word++) {
            if (word)
                bits = draw(key, number, purpose + word);
            total += (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48);
        }
        deviation = (double)(total + 6) / 65536.0 - 6.0;
    } else {
        double heavy = 1.0 / sqrt(sqrt(1.0 - unit(bits)));
        deviation = (heavy - 4.0 / 3.0) / (sqrt(2.0) / 3.0);
    }
    return (int64_t)floor(deviation * (double)set->jitter + 0.5);
}

/* -- frames ------------------------------------------------------------------------------------------- */

static unsigned word_at(const uint8_t *at) { return (unsigned)at[0] << 8 | at[1]; }

static void set_word(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static unsigned fold(uint64_t sum) {
    while (sum >> 16)
        sum = (sum & 0xFFFF) + (sum >> 16);
    return (unsigned)sum;
}

static uint64_t sum_of(const uint8_t *data, size_t length) {
    uint64_t sum = 0;
    for (; length > 1; data += 2, length -= 2)
        sum += word_at(data);
    return length ? sum + ((uint64_t)data[0] << 8) : sum;
}

struct vnet {
    uint8_t flags, kind;
    uint16_t header, size, start, offset;
};

static struct vnet vnet_of(const uint8_t *data) {
    struct vnet vnet;
    _Static_assert(sizeof vnet == VNET, "no padding");
    memcpy(&vnet, data, VNET);
    return vnet;
}

static unsigned network_header(const uint8_t *data, uint32_t length, uint32_t *at) {
    uint32_t place = VNET + 12;
    while (length >= place + 2) {
        unsigned kind = word_at(data + place);
        place += 2;
        if (kind != ETH_P_8021Q && kind != ETH_P_8021AD) {
            *at = place;
            return kind;
        }
        place += 2;
    }
    *at = length;
    return 0;
}

static uint8_t kind_of(const uint8_t *data, uint32_t length) {
    uint32_t at;
    unsigned kind = network_header(data, length, &at);
    if (kind == ETH_P_IP)
        return length < at + 20 || data[at + 9] == IPPROTO_IGMP;
    if (kind != ETH_P_IPV6 || length < at + 40)
        return 1;
    unsigned upper = data[at + 6];
    at += 40;
    if (upper == IPPROTO_HOPOPTS && length >= at + 8) {
        upper = data[at];
        at += 8 * (data[at + 1] + 1u);
    }
    if (upper != IPPROTO_ICMPV6 || length <= at)
        return 0;
    return (data[at] >= 130 && data[at] <= 137) || data[at] == 143;
}

static uint32_t header_length(const uint8_t *data, uint32_t length, const struct vnet *vnet) {
    unsigned kind = vnet->kind & ~(unsigned)GSO_ECN;
    uint32_t header = 0;
    if (kind == GSO_UDP)
        header = vnet->start + 8u;
    else if ((kind == GSO_TCP4 || kind == GSO_TCP6) && VNET + vnet->start + 20u <= length) {
        unsigned words = data[VNET + vnet->start + 12] >> 4;
        header = words >= 5 ? vnet->start + 4 * words : 0;
    }
    return vnet->start >= ETHERNET + 20 && VNET + header <= length ? header : 0;
}

static uint32_t wire_size(const uint8_t *data, uint32_t length, uint32_t *segments) {
    struct vnet vnet = vnet_of(data);
    uint32_t header = 0, bytes = length - VNET;
    *segments = 1;
    if (vnet.kind && vnet.size && vnet.flags & NEEDS_CHECKSUM)
        header = header_length(data, length, &vnet);
    if (!header || bytes - header <= vnet.size)
        return bytes;
    *segments = (bytes - header + vnet.size - 1) / vnet.size;
    return bytes + (*segments - 1) * header;
}

static void corrupt(uint8_t *data, uint32_t length, uint64_t place) {
    struct vnet vnet = vnet_of(data);
    uint32_t first = VNET + ETHERNET;
    if (length <= first)
        return;
    if (vnet.flags & NEEDS_CHECKSUM && VNET + (uint32_t)vnet.start + vnet.offset + 2 <= length) {
        unsigned sum = ~fold(sum_of(data + VNET + vnet.start, length - VNET - vnet.start)) & 0xFFFF;
        set_word(data + VNET + vnet.start + vnet.offset, sum ? sum : 0xFFFF);
    }
    memset(data, 0, VNET);
    uint64_t bit = place % ((uint64_t)(length - first) * 8);
    data[first + bit / 8] ^= (uint8_t)(1 << bit % 8);
}

/* -- shapers ------------------------------------------------------------------------------------------ */

static void enter(struct core *core, struct frame *frame, int64_t now);

static void onward(struct core *core, struct frame *frame, int64_t now) {
    frame->hop++;
    enter(core, frame, now);
}

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

static struct lane *pop_turn(struct shaper *shaper) {
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

static void serve(struct core *core, struct shaper *shaper, int64_t now) {
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
        if (!lane->first)
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
        struct frame *last = longest->last, *previous = NULL;
        for (struct frame *each = longest->first; each != last; each = each->next)
            previous = each;
        longest->last = previous;
        if (previous)
            previous->next = NULL;
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

static void line_up(struct core *core, struct lane *lane, struct frame *frame, int64_t now) {
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
    if (set->duplicate > 0 && unit(draw(key, number, DUPLICATE)) < set->duplicate) {
        lane->counters.duplicated += frame->segments;
        if ((twin = own_frame(core, frame->way, frame->length))) {
            memcpy(twin->data, frame->data, frame->length);
            twin->size = frame->size;
            twin->segments = frame->segments;
            twin->kind = frame->kind;
            twin->hop = frame->hop;
            twin->jitter = set->jitter ? jitter_of(set, key, number, COPY_JITTER) : 0;
            core->held += twin->length;
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
        core->held -= frame->length;
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

static void run(struct core *core, int64_t now) {
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

/* -- in ----------------------------------------------------------------------------------------------- */

static void start(struct core *core, struct frame *frame, int64_t now) {
    core->held += frame->length;
    enter(core, frame, now);
}

static void cut(struct core *core, struct way *way, const uint8_t *data, uint32_t length, uint8_t kind, int64_t now) {
    struct vnet vnet = vnet_of(data);
    uint32_t header = header_length(data, length, &vnet), total = length - VNET, network, number = 0;
    unsigned ethertype = network_header(data, length, &network), transport = vnet.start;
    bool tcp = (vnet.kind & ~(unsigned)GSO_ECN) != GSO_UDP;
    struct vnet piece = {.flags = vnet.flags, .start = vnet.start, .offset = vnet.offset};

    network -= VNET;
    for (uint32_t position = header; position < total; position += vnet.size, number++) {
        uint32_t payload = total - position < vnet.size ? total - position : vnet.size;
        unsigned upper = header - transport + payload;
        struct frame *frame = own_frame(core, way, VNET + header + payload);
        if (!frame) {
            core->no_memory++;
            continue;
        }
        memcpy(frame->data, &piece, VNET);
        memcpy(frame->data + VNET, data + VNET, header);
        memcpy(frame->data + VNET + header, data + VNET + position, payload);
        uint8_t *heads = frame->data + VNET, *ip = heads + network, *up = heads + transport;
        uint64_t addresses;
        if (ethertype == ETH_P_IP) {
            set_word(ip + 2, header - network + payload);
            set_word(ip + 4, (word_at(ip + 4) + number) & 0xFFFF);
            set_word(ip + 10, 0);
            set_word(ip + 10, ~fold(sum_of(ip, 4u * (ip[0] & 15))) & 0xFFFF);
            addresses = sum_of(ip + 12, 8);
        } else {
            set_word(ip + 4, header - network - 40 + payload);
            addresses = sum_of(ip + 8, 32);
        }
        if (tcp) {
            uint32_t sequence = ((uint32_t)word_at(up + 4) << 16 | word_at(up + 6)) + (position - header);
            set_word(up + 4, sequence >> 16);
            set_word(up + 6, sequence & 0xFFFF);
            if (number)
                up[13] &= (uint8_t)~0x80;
            if (position + vnet.size < total)
                up[13] &= (uint8_t)~0x09;
        } else {
            set_word(up + 4, upper);
        }
        set_word(up + vnet.offset, fold(addresses + (tcp ? IPPROTO_TCP : IPPROTO_UDP) + upper));
        frame->size = header + payload;
        frame->segments = 1;
        frame->kind = kind;
        start(core, frame, now);
    }
}

/* Whether cut() can do it: the IP header lies whole between the Ethernet and the transport header. */
static bool can_cut(const uint8_t *data, uint32_t length) {
    struct vnet vnet = vnet_of(data);
    uint32_t network, header = header_length(data, length, &vnet);
    unsigned ethertype = network_header(data, length, &network);
    if (!header || (vnet.kind & ~(unsigned)GSO_ECN) == GSO_FRAGMENTS || vnet.start + vnet.offset + 2u > header)
        return false;
    if (ethertype == ETH_P_IP)
        return network + 20 <= VNET + (uint32_t)vnet.start &&
               network + 4u * (data[network] & 15) <= VNET + (uint32_t)vnet.start;
    return ethertype == ETH_P_IPV6 && network + 40 <= VNET + (uint32_t)vnet.start;
}

/* `data` has HEADROOM bytes before it that may be used, and stays as it is until the next flush. */
static void take_in(
    struct core *core, struct way *way, uint8_t *data, uint32_t length, unsigned tag_type, unsigned tag, int64_t now) {
    uint32_t segments, size;
    bool by_frame = false;

    if (tag_type) {
        struct vnet vnet = vnet_of(data);
        if (vnet.flags & NEEDS_CHECKSUM)
            vnet.start = (uint16_t)(vnet.start + 4);
        if (vnet.kind)
            vnet.header = (uint16_t)(vnet.header + 4);
        memmove(data - 4, data, VNET + 12);
        data -= 4;
        length += 4;
        memcpy(data, &vnet, VNET);
        set_word(data + VNET + 12, tag_type);
        set_word(data + VNET + 14, tag);
    }
    size = wire_size(data, length, &segments);
    way->counters.packets += segments;
    way->counters.bytes += size;
    if (core->held > core->most_held) {
        way->counters.memory += segments;
        return;
    }
    uint8_t kind = way->count ? kind_of(data, length) : 0;
    if (segments > 1)
        for (uint32_t hop = 0; hop < way->count; hop++)
            by_frame |= way->lanes[hop].shaper->set.by_frame != 0;
    if (by_frame && can_cut(data, length)) {
        cut(core, way, data, length, kind, now);
        return;
    }
    struct frame *frame = new_frame(core, way);
    if (!frame) {
        core->no_memory++;
        return;
    }
    frame->data = data;
    frame->length = length;
    frame->size = size;
    frame->segments = segments;
    frame->kind = kind;
    start(core, frame, now);
}

/* -- out ---------------------------------------------------------------------------------------------- */

static int64_t clock_ns(clockid_t which) {
    struct timespec time;
    clock_gettime(which, &time);
    return (int64_t)time.tv_sec * SECOND + time.tv_nsec;
}

static void note_lateness(struct core *core, int64_t late) {
    unsigned bucket = 0;
    if (late > core->latest)
        core->latest = late;
    while (bucket < BUCKETS - 1 && late > core->limits[bucket])
        bucket++;
    core->lateness[bucket]++;
}

static void flush(struct core *core) {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_ll addresses[BATCH];
    struct frame *frames[BATCH];

    while (core->out) {
        unsigned count = 0;
        for (; count < BATCH && core->out; count++) {
            struct frame *frame = frames[count] = core->out;
            core->out = frame->next;
            vectors[count] = (struct iovec){frame->data, frame->length};
            addresses[count] = (struct sockaddr_ll){.sll_family = AF_PACKET, .sll_ifindex = frame->way->egress};
            messages[count] = (struct mmsghdr){
                .msg_hdr = {.msg_name = &addresses[count], .msg_namelen = sizeof addresses[count],
                            .msg_iov = &vectors[count], .msg_iovlen = 1}};
        }
        if (!core->out)
            core->out_last = NULL;
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        for (unsigned done = 0; done < count;) {
            int sent = sendmmsg(core->packets, messages + done, count - done, MSG_DONTWAIT);
            bool refused = sent <= 0;
            if (refused && errno == EINTR)
                continue;
            for (unsigned last = done + (refused ? 1 : (unsigned)sent); done < last; done++) {
                struct frame *frame = frames[done];
                struct way_counters *counters = &frame->way->counters;
                if (refused) {
                    counters->refused += frame->segments;
                } else {
                    counters->sent_packets += frame->segments;
                    counters->sent_bytes += frame->size;
                    if (frame->due < now)
                        note_lateness(core, now - frame->due);
                }
                drop_frame(core, frame);
            }
        }
    }
}

/* -- the loop ----------------------------------------------------------------------------------------- */

static struct way *find(const struct core *core, int32_t index) {
    if (!core->table)
        return NULL;
    for (size_t at = (uint32_t)index * 0x9E3779B1u & (core->table - 1);; at = (at + 1) & (core->table - 1))
        if (!core->ways[at] || core->indices[at] == index)
            return core->ways[at];
}

static void set_up(struct core *core) {
    for (unsigned place = 0; place < BATCH; place++) {
        core->vectors[place] = (struct iovec){core->slots[place].bytes + HEADROOM, LARGEST};
        core->messages[place] = (struct mmsghdr){
            .msg_hdr = {.msg_name = &core->addresses[place], .msg_namelen = sizeof core->addresses[place],
                        .msg_iov = &core->vectors[place], .msg_iovlen = 1,
                        .msg_control = core->controls[place], .msg_controllen = CONTROL}};
    }
}

/* Whether there may be more to be read at once. */
static bool receive(struct core *core) {
    struct mmsghdr *messages = core->messages;
    int count = recvmmsg(core->packets, messages, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0) {
        if (errno != EAGAIN && errno != EINTR)
            core->strange++; /* a frame that a vnet header has no words for */
        return errno != EAGAIN;
    }
    int64_t now = clock_ns(CLOCK_MONOTONIC), real = clock_ns(CLOCK_REALTIME);
    for (int place = 0; place < count; place++) {
        struct msghdr *message = &messages[place].msg_hdr;
        struct way *way = find(core, core->addresses[place].sll_ifindex);
        unsigned tag_type = 0, tag = 0;
        int64_t at = now;
        if (!way || messages[place].msg_len < VNET + ETHERNET) {
            message->msg_controllen = CONTROL;
            continue;
        }
        for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
            if (each->cmsg_level == SOL_PACKET && each->cmsg_type == PACKET_AUXDATA) {
                struct tpacket_auxdata aux;
                memcpy(&aux, CMSG_DATA(each), sizeof aux);
                if (aux.tp_status & TP_STATUS_VLAN_VALID) {
                    tag = aux.tp_vlan_tci;
                    tag_type = aux.tp_status & TP_STATUS_VLAN_TPID_VALID ? aux.tp_vlan_tpid : ETH_P_8021Q;
                }
            } else if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SO_TIMESTAMPNS) {
                struct timespec stamp;
                memcpy(&stamp, CMSG_DATA(each), sizeof stamp);
                int64_t age = real - ((int64_t)stamp.tv_sec * SECOND + stamp.tv_nsec);
                at = now - (age < 0 ? 0 : age > OLDEST ? OLDEST : age);
            }
        }
        message->msg_controllen = CONTROL;
        /* A frame counts from when it came, not from when we got round to it. */
        if (at < core->last_arrival)
            at = core->last_arrival < now ? core->last_arrival : now;
        core->last_arrival = at;
        run(core, at);
        take_in(core, way, core->slots[place].bytes + HEADROOM, messages[place].msg_len, tag_type, tag, at);
    }
    core->read += count;
    return count == BATCH;
}

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

void core_run(struct core *core) {
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
        if (core->count)
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

void core_lock(struct core *core) {
    atomic_fetch_add(&core->wanted, 1);
    eventfd_write(core->wake, 1);
    pthread_mutex_lock(&core->gate);
    pthread_mutex_lock(&core->big);
    atomic_fetch_sub(&core->wanted, 1);
}

void core_unlock(struct core *core) {
    pthread_mutex_unlock(&core->big);
    pthread_mutex_unlock(&core->gate);
}

void core_stop(struct core *core) {
    atomic_store(&core->stopped, 1);
    eventfd_write(core->wake, 1);
}

/* -- what Python makes and asks ----------------------------------------------------------------------- */

struct core *core_new(int packets, int64_t most_held, const int64_t *limits) {
    struct core *core = calloc(1, sizeof *core);
    pthread_mutexattr_t inherit;
    if (!core)
        return NULL;
    core->packets = packets;
    core->most_held = most_held;
    memcpy(core->limits, limits, sizeof core->limits);
    core->slots = malloc(BATCH * sizeof *core->slots);
    core->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!core->slots || core->wake < 0) {
        free(core->slots);
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

struct shaper *core_new_shaper(const struct settings *settings) {
    struct shaper *shaper = calloc(1, sizeof *shaper);
    if (shaper) {
        shaper->set = *settings;
        shaper->quantum = QUANTUM;
        shaper->users = 1;
    }
    return shaper;
}

void core_impair(struct core *core, struct shaper *shaper, const struct settings *settings, int64_t now) {
    shaper->set = *settings;
    if (shaper->free_at > now)
        shaper->free_at = now;
    shaper->rest = 0;
    if (shaper->first) {
        shaper->epoch++;
        serve(core, shaper, now);
    }
}

void core_leave_shaper(struct shaper *shaper) { leave_shaper(shaper); }

struct way *core_new_way(int32_t egress, struct shaper *const *shapers, uint32_t count) {
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

void core_set_egress(struct way *way, int32_t egress) { way->egress = egress; }

/* Numbering starts again. */
void core_set_keys(struct way *way, uint32_t hop, uint64_t ip, uint64_t other) {
    way->lanes[hop].streams[0] = (struct stream){.key = ip};
    way->lanes[hop].streams[1] = (struct stream){.key = other};
}

void core_leave_way(struct way *way) { leave_way(way); }

const struct way_counters *core_way_counters(const struct way *way) { return &way->counters; }

const struct lane_counters *core_lane_counters(const struct way *way, uint32_t hop) {
    return &way->lanes[hop].counters;
}

/* Which way frames take that come in by these interfaces. Returns 0, or -1 when memory has run out. */
int core_set_table(struct core *core, const int32_t *indices, struct way *const *ways, uint32_t count) {
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
void core_counters(const struct core *core, int64_t *values) {
    memcpy(values, core->lateness, sizeof core->lateness);
    values[BUCKETS] = core->latest;
    values[BUCKETS + 1] = core->held;
    values[BUCKETS + 2] = core->strange;
    values[BUCKETS + 3] = core->no_memory;
}

/* -- for tests: without a network, at given times ------------------------------------------------------ */

void core_feed(
    struct core *core, struct way *way, const uint8_t *data, uint32_t length, unsigned tag_type, unsigned tag,
    int64_t now) {
    run(core, now);
    if (length < VNET + ETHERNET || length > LARGEST)
        return;
    memcpy(core->slots[0].bytes + HEADROOM, data, length);
    take_in(core, way, core->slots[0].bytes + HEADROOM, length, tag_type, tag, now);
    for (struct frame *frame = core->out; frame; frame = frame->next)
        keep(core, frame);
}

void core_advance(struct core *core, int64_t now) { run(core, now); }

/* The next frame that has crossed its way: its length, or 0; `due` is when, `way` whose. */
uint32_t core_collect(struct core *core, uint8_t *data, int64_t *due, struct way **way) {
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

void core_free(struct core *core) {
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
    while (core->free_frames) {
        struct frame *frame = core->free_frames;
        core->free_frames = frame->next;
        free(frame);
    }
    while (core->free_small) {
        uint8_t *data = core->free_small;
        memcpy(&core->free_small, data, sizeof(uint8_t *));
        free(data);
    }
    close(core->wake);
    pthread_mutex_destroy(&core->gate);
    pthread_mutex_destroy(&core->big);
    free(core->indices);
    free(core->ways);
    free(core->slots);
    free(core->agenda);
    free(core);
}
