/* The relay's compiled core: the same shapers, decisions and cutting as shaper.py, decisions.py and offload.py,
 * which are the reference; a test compares them frame by frame. Python keeps the control: it makes shapers and
 * ways, asks for counters (board.c), and calls core_run (loop.c) on a thread of its own.
 *
 * Times are ns of CLOCK_MONOTONIC. Between core_lock and core_unlock the loop stands still. */
#ifndef CORE_H
#define CORE_H

#define _GNU_SOURCE
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#define PUBLIC __attribute__((visibility("default"))) /* called by core.py */

#define SECOND 1000000000LL
#define BATCH 64
#define VNET 10 /* the vnet header before each frame */
#define ETHERNET 14
#define HEADROOM 16 /* for a VLAN tag that is put back */
#define NO_PLACE 255 /* above all places of a batch */
#define LARGEST (VNET + 65536 + ETHERNET + 8)
#define SLOT (HEADROOM + ((LARGEST + 63) / 64) * 64)
/* What bytes lie in: those of a frame, once it has to wait; above SMALL just as many as it has, or a slot. */
#define TINY 256
#define SMALL 2048
#define OVERHEAD 512 /* of each frame beside its bytes, in either engine; see lanes.py */
#define MOST_FREE_SLOTS 256
#define MOST_FREE 4096 /* of each kind: beyond that, what was given back goes to the next kind that needs it */
#define QUANTUM 1514
#define MOST_HOPS 128
#define CONTROL 128
#define MANY 40
#define WIDEST 4 /* times the jitter: later than that few are */
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
    int64_t queued_packets, queued_bytes, stale;
};

struct way_counters {
    int64_t packets, bytes, sent_packets, sent_bytes, refused, memory, stale;
};

struct frame {
    struct frame *next, *previous; /* the latter in a lane's queue alone */
    struct way *way;
    uint8_t *data;
    int64_t arrived, jitter, due, hold, after;
    uint32_t length, size, segments;
    uint8_t kind, hop;
    uint8_t place;   /* of the slot that `data` lies in, while it is not the frame's own */
    bool own;        /* whether `data` is the frame's own */
    uint8_t *slot;   /* the whole slot, where the frame has taken it along */
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

/* Blocks of one size that were given back; each begins with where the next is. */
struct pool {
    uint8_t *first;
    unsigned count;
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
    unsigned free_frame_count;
    struct pool tiny, small;
    int32_t *indices;
    struct way **ways;
    size_t table; /* a power of two */
    uint8_t *slots[BATCH];
    uint8_t *free_slots;
    unsigned free_slot_count;
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    struct sockaddr_ll addresses[BATCH];
    _Alignas(struct cmsghdr) uint8_t controls[BATCH][CONTROL];
    int64_t read, window; /* frames read since */
    bool many;
    int64_t lateness[BUCKETS], latest, strange, no_memory;
    int64_t limits[BUCKETS - 1];
};

/* memory.c */
struct frame *new_frame(struct core *core, struct way *way);
struct frame *own_frame(struct core *core, struct way *way, uint32_t length); /* NULL: memory has run out */
bool keep(struct core *core, struct frame *frame); /* before it waits anywhere: its bytes leave their slot */
void drop_frame(struct core *core, struct frame *frame);
int64_t taken_by(uint32_t length); /* bytes of memory that a frame of this length takes, at most */
void lose(struct core *core, struct frame *frame); /* drop_frame, and nothing of it is held any more */
void leave_shaper(struct shaper *shaper);
void leave_way(struct way *way);
uint8_t *get_slot(struct core *core);
void set_slot(struct core *core, unsigned place, uint8_t *slot);
void free_pools(struct core *core);

/* agenda.c */
bool put(struct core *core, struct entry entry);
struct entry take(struct core *core);
void hurry(struct core *core, const struct shaper *shaper, int64_t latest); /* what leaves it, leaves by then */

/* decisions.c */
uint64_t draw(uint64_t key, uint64_t number, unsigned purpose);
double unit(uint64_t bits); /* from 0 to below 1 */
int64_t jitter_of(const struct settings *set, uint64_t key, uint64_t number, unsigned purpose);

/* offload.c: `data` begins with a vnet header */
uint8_t kind_of(const uint8_t *data, uint32_t length); /* which stream counts it: 0 IP, 1 the rest */
uint32_t wire_size(const uint8_t *data, uint32_t length, uint32_t *segments);
uint8_t *with_tag(uint8_t *data, uint32_t *length, unsigned tag_type, unsigned tag);
void corrupt(uint8_t *data, uint32_t length, uint64_t place);
bool can_cut(const uint8_t *data, uint32_t length);
void cut(struct core *core, struct way *way, const uint8_t *data, uint32_t length, uint8_t kind, int64_t now);

/* queue.c */
void line_up(struct core *core, struct lane *lane, struct frame *frame, int64_t now);
void serve(struct core *core, struct shaper *shaper, int64_t now);
struct lane *pop_turn(struct shaper *shaper);

/* shaper.c */
void start(struct core *core, struct frame *frame, int64_t now); /* on its way */
void onward(struct core *core, struct frame *frame, int64_t now); /* to its next link, or out */
void run(struct core *core, int64_t now); /* all that is due until now */

/* packets.c */
int64_t clock_ns(clockid_t which);
void set_up(struct core *core);
bool receive(struct core *core); /* whether there may be more to be read at once */
void flush(struct core *core);
void take_in(
    struct core *core, struct way *way, uint8_t *data, uint32_t length, unsigned tag_type, unsigned tag, unsigned place,
    int64_t now);

#endif
