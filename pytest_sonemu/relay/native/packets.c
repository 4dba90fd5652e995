/* Frames in and out, many a system call. */
#include "core.h"

#include <errno.h>
#include <string.h>
#include <time.h>

int64_t clock_ns(clockid_t which) {
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

static void note_stale(struct way *way, int64_t packets) {
    way->counters.stale += packets;
    for (uint32_t hop = 0; hop < way->count; hop++)
        way->lanes[hop].counters.stale += packets;
}

void flush(struct core *core) {
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

static struct way *find(const struct core *core, int32_t index) {
    if (!core->table)
        return NULL;
    for (size_t at = (uint32_t)index * 0x9E3779B1u & (core->table - 1);; at = (at + 1) & (core->table - 1))
        if (!core->ways[at] || core->indices[at] == index)
            return core->ways[at];
}

void set_up(struct core *core) {
    for (unsigned place = 0; place < BATCH; place++) {
        core->messages[place] = (struct mmsghdr){
            .msg_hdr = {.msg_name = &core->addresses[place], .msg_namelen = sizeof core->addresses[place],
                        .msg_iov = &core->vectors[place], .msg_iovlen = 1,
                        .msg_control = core->controls[place], .msg_controllen = CONTROL}};
    }
}

/* `data` has HEADROOM bytes before it that may be used, and stays as it is until the next flush. */
void take_in(
    struct core *core, struct way *way, uint8_t *data, uint32_t length, unsigned tag_type, unsigned tag, unsigned place,
    int64_t now) {
    uint32_t segments, size;
    bool by_frame = false;

    if (tag_type)
        data = with_tag(data, &length, tag_type, tag);
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
    frame->place = (uint8_t)place;
    start(core, frame, now);
}

/* Whether there may be more to be read at once. */
bool receive(struct core *core) {
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
        int64_t at = now, age = 0;
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
                age = real - ((int64_t)stamp.tv_sec * SECOND + stamp.tv_nsec);
                at = now - (age < 0 ? 0 : age > OLDEST ? OLDEST : age);
            }
        }
        message->msg_controllen = CONTROL;
        /* A frame counts from when it came, not from when we got round to it. */
        if (at < core->last_arrival)
            at = core->last_arrival < now ? core->last_arrival : now;
        core->last_arrival = at;
        run(core, at);
        int64_t before = way->counters.packets;
        take_in(
            core, way, core->slots[place] + HEADROOM, messages[place].msg_len, tag_type, tag, (unsigned)place, at);
        if (age > OLDEST)
            note_stale(way, way->counters.packets - before);
    }
    core->read += count;
    return count == BATCH;
}
